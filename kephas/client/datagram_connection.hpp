#pragma once

#include <kephas/net/datagram_socket.hpp>
#include <kephas/net/steady_timer.hpp>

#include <kephas/client/client_connection.hpp>
#include <kephas/client/wake_signal.hpp>

#include <asio/any_io_executor.hpp>

#include <memory>
#include <string>
#include <vector>

namespace kephas {

/// Commands in datagrams, one in each: text goes under the id of JSON-RPC, as over a stream. There is nothing to open, and
/// nothing says that it is over: it lasts until the client ends it, or a Unix socket has no peer any more.
class datagram_connection final : public client_connection, public std::enable_shared_from_this<datagram_connection> {
public:
    /// Zero: for ever. A Unix peer that takes nothing for `write_timeout` is as good as gone.
    struct timeouts {
        duration write{};
        duration close{};
    };
    datagram_connection(const asio::any_io_executor& executor, std::unique_ptr<datagram_socket> socket, bool lasts,
                        timeouts limits)
        : socket_{std::move(socket)},
          lasts_{lasts},
          limits_{limits},
          sending_{executor},
          receiving_{executor},
          write_timer_{executor},
          close_timer_{executor} {}

    [[nodiscard]] asio::awaitable<connection_end> run(connection_owner& owner) override;
    void wake() override;
    [[nodiscard]] const std::string& subprotocol() const noexcept override { return none_; }

private:
    [[nodiscard]] asio::awaitable<void> receive();
    [[nodiscard]] asio::awaitable<void> send(outgoing message);
    void failed(std::error_code why);
    void close(const close_order& order, bool clean);
    void end();
    void watch_sending();

    std::unique_ptr<datagram_socket> socket_;
    const bool lasts_;  // whether there may be somebody again who was not there
    const timeouts limits_;
    wake_signal sending_;
    wake_signal receiving_;
    steady_timer write_timer_;
    steady_timer close_timer_;
    connection_owner* owner_ = nullptr;
    std::vector<std::byte> buffer_;
    std::string none_;
    time_point send_began_{};
    bool send_waits_ = false;
    bool send_watched_ = false;
    bool closing_ = false;
    bool over_ = false;
    bool receiver_ended_ = false;
    connection_end end_{};
};

}  // namespace kephas
