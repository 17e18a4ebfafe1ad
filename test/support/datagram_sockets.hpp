#pragma once

#include <support/run_coroutine.hpp>

#include <kephas/base/error.hpp>

#include <kephas/net/connect_datagram.hpp>
#include <kephas/net/datagram_socket.hpp>

#include <asio/awaitable.hpp>
#include <asio/io_context.hpp>

#include <doctest/doctest.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <system_error>
#include <utility>

#include <sys/socket.h>
#include <unistd.h>

namespace kephas::test {

inline std::string abstract_name(const char* what) { return "unixgram://@kephas-" + std::string{what} + "-" + std::to_string(::getpid()); }

inline const std::array<std::string, 4> kinds{"udp://127.0.0.1:0", "udp6://[::1]:0", "udp4://localhost:0", abstract_name("datagrams")};

inline std::string text_of(const datagram_view& view) { return std::string{as_text(view.bytes)}; }

/// A text that is not the same everywhere.
inline std::string pattern(std::size_t size, unsigned seed = 0) {
    std::string text(size, '\0');
    for (std::size_t i = 0; i < size; ++i) text[i] = static_cast<char>('a' + (i * 31 + i / 251 + seed) % 26);
    return text;
}

/// The address of a bound socket, to connect to.
inline address where_is(const datagram_socket& socket) {
    const int family = socket.local().family();
    const network kind = family == AF_UNIX ? network::unix_datagram : (family == AF_INET ? network::udp4 : network::udp6);
    return address::parse(kind, socket.local_address());
}

using client_ptr = std::unique_ptr<datagram_socket>;

inline asio::awaitable<client_ptr> client_of(const datagram_socket& server, datagram_socket_options options = {}) {
    const address where = where_is(server);
    const time_point deadline = clock::now() + std::chrono::seconds{10};
    co_return co_await connect_datagram(where, deadline, std::move(options));
}

inline asio::awaitable<std::string> next_text(datagram_socket& socket) {
    const time_point deadline = clock::now() + std::chrono::seconds{10};
    const auto datagram = co_await socket.receive(deadline);
    REQUIRE(datagram);
    co_return text_of(*datagram);
}

/// The error of connecting to `where`.
inline error refusal(asio::io_context& context, const std::string& where) {
    return failure_of(context, [](std::string text) -> asio::awaitable<void> {
        const address parsed = address::parse(text);
        const time_point deadline = clock::now() + std::chrono::seconds{10};
        (void)co_await connect_datagram(parsed, deadline);
    }(where));
}

inline std::error_code bind_failure(asio::io_context& context, const std::string& where, const unix_socket_access& access = {}) {
    try {
        const datagram_socket socket{context.get_executor(), address::parse(where), {}, access};
    } catch (const error& failure) {
        return failure.code();
    }
    return {};
}

}  // namespace kephas::test
