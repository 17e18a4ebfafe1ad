// Says something to a server and prints what it answers: kephas-tcp-client tcp://localhost:8080
#include <kephas/net/connect.hpp>

#include <asio/co_spawn.hpp>
#include <asio/io_context.hpp>

#include <array>
#include <chrono>
#include <cstdio>
#include <exception>
#include <string>

namespace {

//[tcp-client
asio::awaitable<void> greet(std::string where) {
    using namespace std::chrono_literals;
    const auto server = co_await kephas::connect(kephas::address::parse(where), kephas::clock::now() + 5s);
    co_await server->write("Hello, server!\n");
    const std::string answer = co_await server->read_until("\n");
    std::printf("%s", answer.c_str());
}
//]

}  // namespace

int main(int argc, char** argv) {
    int status = 0;
    asio::io_context context;
    asio::co_spawn(context, greet(argc > 1 ? argv[1] : "tcp://localhost:8080"), [&](std::exception_ptr thrown) {
        if (!thrown) return;
        status = 1;
        try {
            std::rethrow_exception(thrown);
        } catch (const std::exception& failure) {
            std::fprintf(stderr, "kephas-tcp-client: %s\n", failure.what());
        }
    });
    context.run();
    return status;
}
