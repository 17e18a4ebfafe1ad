#include <kephas/net/resolve.hpp>

#include <kephas/server/listener.hpp>
#include <kephas/server/options.hpp>

#include <asio/error.hpp>

#include <fmt/format.h>

#include <utility>

#include <netinet/in.h>
#include <sys/socket.h>

namespace kephas {

namespace {

using kind = listen_address::kind;
using language = listener_role::language;

std::shared_ptr<const listener_role> role_of(const listen_address& address, const server_options& options, std::size_t index) {
    auto role = std::make_shared<listener_role>();
    role->index = static_cast<std::uint16_t>(index);
    role->speaks = address.what == kind::commands      ? language::commands
                   : address.what == kind::unix_socket ? language::either
                                                       : language::http;
    role->path = address.path;
    role->files = address.what == kind::http && !options.files.empty();
    role->tls = address.tls;
    return role;
}

std::unique_ptr<acceptor> bind(const asio::any_io_executor& executor, const listen_address& address,
                               const server_options& options) {
    const auto at = [&](const listener::protocol::endpoint& end, bool only_v6) {
        return std::make_unique<acceptor>(executor, end, options.unix_access, only_v6);
    };
    if (address.what != kind::commands) return at(address.endpoint, false);
    return bind_at(address.where, [&](const socket_address& end, bool only_v6) { return at({end.data(), end.size()}, only_v6); });
}

}  // namespace

listener::listener(const asio::any_io_executor& executor, const listen_address& address, const server_options& options,
                   std::size_t index)
    : acceptor_{bind(executor, address, options)},
      role_{role_of(address, options, index)},
      kind_{address.what} {}

std::string listener::url() const {
    const char* secure = role_->tls ? "s" : "";
    switch (kind_) {
        case listen_address::kind::websocket: return fmt::format("ws{}://{}{}", secure, to_string(endpoint()), role_->path);
        case listen_address::kind::http: return fmt::format("http{}://{}", secure, to_string(endpoint()));
        case listen_address::kind::commands: return fmt::format("{}://{}", role_->tls ? "tls" : "tcp", to_string(endpoint()));
        case listen_address::kind::datagrams:
        case listen_address::kind::unix_socket: break;
    }
    return fmt::format("unix://{}", to_string(endpoint()));
}

asio::awaitable<void> listener::accept(accepted_handler accepted, logger log, acceptor::accept_function take) {
    const protocol kind{endpoint().protocol().family(), kind_ == listen_address::kind::unix_socket ? 0 : IPPROTO_TCP};
    return acceptor_->accept([accepted = std::move(accepted), kind, role = role_](int fd) { accepted(fd, kind, role); },
                            std::move(log), std::move(take));
}

}  // namespace kephas
