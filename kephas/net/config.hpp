#pragma once

#include <kephas/base/clock.hpp>
#include <kephas/base/logger.hpp>

#include <kephas/net/address.hpp>
#include <kephas/net/connection.hpp>
#include <kephas/net/datagram_server.hpp>
#include <kephas/net/socket_server.hpp>
#include <kephas/net/stream_client.hpp>
#include <kephas/net/stream_server.hpp>
#include <kephas/net/tls_client_context.hpp>
#include <kephas/net/tls_options.hpp>

#include <asio/io_context.hpp>

#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include <sys/types.h>

/// Servers and clients of sockets, put together step by step:
///
///     using namespace kephas;
///     auto server = config::server().network(config::tcp).address(":8080").handler(echo).build();
///     server->run();
///
/// What does not fit together is an error of `validate` and `build` that says so: `error{errc::invalid_address}` for addresses,
/// `std::invalid_argument` for everything else.
namespace kephas::config {

using enum kephas::network;

/// What is said once, in whatever order; a later word replaces an earlier one. A value.
class server_builder {
public:
    /// `tcp` unless it is said.
    server_builder& network(kephas::network kind);
    /// `HOST:PORT`, `:PORT`, `[IPV6]:PORT`; the file or `@name` of a Unix socket.
    server_builder& address(std::string text);
    server_builder& handler(stream_server::handler serve);
    server_builder& handler(datagram_server::handler serve);

    /// TLS over TCP.
    server_builder& tls(tls_options options);
    server_builder& no_tls();  ///< Not any more.
    server_builder& tls(const std::string& certificate_file, const std::string& key_file);
    /// Of the file of a Unix socket: rights, 0770 unless it is said, and group; -1 is the group of the process.
    server_builder& permissions(mode_t mode, std::int64_t group = -1);
    server_builder& max_datagram(std::size_t size);              ///< Of datagrams: what is longer arrives cut off.

    server_builder& threads(unsigned count);                     ///< Of `run()`; 0: as many as there are cores. Of streams.
    server_builder& max_connections(std::size_t count);          ///< Of streams.
    server_builder& idle_timeout(duration limit);                ///< Of streams. Zero: never.
    server_builder& drain_timeout(duration limit);
    server_builder& on_error(std::function<void(const std::exception_ptr&)> told);
    server_builder& on_state(connection_observer told);          ///< Of streams.
    server_builder& on_message(std::function<void(std::string_view)> told);
    server_builder& authorize(std::function<bool(const connection&)> decide);  ///< Of streams.
    server_builder& log(logger to);

    /// Throws if `build` would.
    void validate() const;
    /// With threads of its own, for `run()`.
    [[nodiscard]] std::unique_ptr<socket_server> build() const;
    /// In the program's context, for `serve()`.
    [[nodiscard]] std::unique_ptr<socket_server> build(asio::io_context& context) const;

private:
    [[nodiscard]] kephas::address checked() const;
    [[nodiscard]] stream_server_options stream_options() const;
    [[nodiscard]] datagram_server_options datagram_options() const;

    kephas::network network_ = kephas::network::tcp;
    std::string address_;
    stream_server::handler stream_handler_;
    datagram_server::handler datagram_handler_;
    stream_server_options options_;  // those of datagrams are a part of it
    std::int64_t group_ = -1;
    bool permissions_said_ = false;
    bool tls_said_ = false;
    std::size_t max_datagram_ = 0;
    const char* of_streams_only_ = nullptr;  // the last word that datagrams do not have
};

[[nodiscard]] inline server_builder server() { return {}; }

/// The same for a client of streams.
class client_builder {
public:
    client_builder& network(kephas::network kind);
    client_builder& address(std::string text);
    /// TLS over TCP, with the server's name verified unless it says otherwise.
    client_builder& tls(tls_client_options options = {});
    client_builder& keep_alive(duration idle);  ///< Zero: never.
    client_builder& on_state(connection_observer told);

    void validate() const;
    [[nodiscard]] std::unique_ptr<stream_client> build() const;

private:
    [[nodiscard]] kephas::address checked() const;

    kephas::network network_ = kephas::network::tcp;
    std::string address_;
    std::optional<tls_client_options> tls_;
    duration keep_alive_ = connect_options{}.keep_alive;
    connection_observer on_state_;
};

[[nodiscard]] inline client_builder client() { return {}; }

}  // namespace kephas::config
