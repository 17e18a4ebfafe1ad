#include <kephas/server/listener.hpp>

#include <asio/error.hpp>

#include <fmt/format.h>

#include <utility>

#include <netinet/in.h>
#include <sys/socket.h>

namespace kephas {

namespace {

std::shared_ptr<const listener_role> role_of(const listen_address& address, bool files, std::size_t index) {
    auto role = std::make_shared<listener_role>();
    role->index = static_cast<std::uint16_t>(index);
    role->path = address.path;
    role->files = files && address.what == listen_address::kind::http;
    role->tls = address.tls;
    return role;
}

}  // namespace

listener::listener(const asio::any_io_executor& executor, const listen_address& address, bool files, std::size_t index)
    : acceptor_{executor, address.endpoint}, role_{role_of(address, files, index)}, kind_{address.what} {}

std::string listener::url() const {
    const char* secure = role_->tls ? "s" : "";
    switch (kind_) {
        case listen_address::kind::websocket: return fmt::format("ws{}://{}{}", secure, to_string(endpoint()), role_->path);
        case listen_address::kind::http: return fmt::format("http{}://{}", secure, to_string(endpoint()));
        case listen_address::kind::unix_socket: break;
    }
    return fmt::format("unix://{}", to_string(endpoint()));
}

asio::awaitable<void> listener::accept(accepted_handler accepted, logger log, acceptor::accept_function take) {
    const protocol kind{endpoint().protocol().family(), kind_ == listen_address::kind::unix_socket ? 0 : IPPROTO_TCP};
    return acceptor_.accept([accepted = std::move(accepted), kind, role = role_](int fd) { accepted(fd, kind, role); },
                            std::move(log), std::move(take));
}

}  // namespace kephas
