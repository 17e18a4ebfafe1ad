#pragma once

#include <kephas/net/datagram_socket.hpp>

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
    datagram_connection(const asio::any_io_executor& executor, std::unique_ptr<datagram_socket> socket, bool lasts)
        : socket_{std::move(socket)}, lasts_{lasts}, sending_{executor}, receiving_{executor} {}

    [[nodiscard]] asio::awaitable<connection_end> run(connection_owner& owner) override;
    void wake() override {
        sending_.signal();
        receiving_.signal();
    }
    [[nodiscard]] const std::string& subprotocol() const noexcept override { return none_; }

private:
    [[nodiscard]] asio::awaitable<void> receive();
    [[nodiscard]] asio::awaitable<void> send(outgoing message);
    void failed(std::error_code why);

    std::unique_ptr<datagram_socket> socket_;
    const bool lasts_;  // whether there may be somebody again who was not there
    wake_signal sending_;
    wake_signal receiving_;
    connection_owner* owner_ = nullptr;
    std::vector<std::byte> buffer_;
    std::string none_;
    bool over_ = false;
    bool receiver_ended_ = false;
    connection_end end_{};
};

}  // namespace kephas
