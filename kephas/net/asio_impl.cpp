// Asio's compiled part, in a library of its own: a program that compiles it already leaves this library out.
#include <asio/impl/src.hpp>
