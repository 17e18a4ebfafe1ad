#include <kephas/base/error.hpp>

#include <kephas/net/config.hpp>
#include <kephas/net/tls_context.hpp>

#include <fmt/format.h>

#include <limits>
#include <stdexcept>
#include <utility>

namespace kephas::config {

namespace {

[[noreturn]] void refuse(const std::string& what) { throw std::invalid_argument{what}; }

kephas::address parsed(kephas::network kind, const std::string& text, bool tls) {
    if (text.empty()) refuse("there is no address");
    kephas::address where = kephas::address::parse(kind, text);
    if (tls && is_unix(kind)) refuse(fmt::format("\"{}\": there is no TLS over Unix sockets", to_string(where)));
    if (tls && is_datagram(kind)) refuse(fmt::format("\"{}\": there is no TLS over datagrams", to_string(where)));
    where.tls = tls;
    return where;
}

}  // namespace

server_builder& server_builder::network(kephas::network kind) {
    network_ = kind;
    return *this;
}

server_builder& server_builder::address(std::string text) {
    address_ = std::move(text);
    return *this;
}

server_builder& server_builder::handler(stream_server::handler serve) {
    stream_handler_ = std::move(serve);
    datagram_handler_ = nullptr;
    return *this;
}

server_builder& server_builder::handler(datagram_server::handler serve) {
    datagram_handler_ = std::move(serve);
    stream_handler_ = nullptr;
    return *this;
}

server_builder& server_builder::tls(tls_options options) {
    options_.tls = std::move(options);
    tls_said_ = true;
    return *this;
}

server_builder& server_builder::no_tls() {
    options_.tls = stream_server_options{}.tls;
    tls_said_ = false;
    return *this;
}

server_builder& server_builder::tls(const std::string& certificate_file, const std::string& key_file) {
    tls_options options;
    options.certificates = {{pem_file(certificate_file), pem_file(key_file)}};
    options.alpn = {};
    return tls(std::move(options));
}

server_builder& server_builder::permissions(mode_t mode, std::int64_t group) {
    options_.access.mode = mode;
    group_ = group;
    permissions_said_ = true;
    return *this;
}

server_builder& server_builder::max_datagram(std::size_t size) {
    max_datagram_ = size;
    return *this;
}

server_builder& server_builder::threads(unsigned count) {
    options_.threads = count;
    of_streams_only_ = "threads";
    return *this;
}

server_builder& server_builder::max_connections(std::size_t count) {
    options_.max_connections = count;
    of_streams_only_ = "max_connections";
    return *this;
}

server_builder& server_builder::idle_timeout(duration limit) {
    options_.idle_timeout = limit;
    of_streams_only_ = "idle_timeout";
    return *this;
}

server_builder& server_builder::drain_timeout(duration limit) {
    options_.drain_timeout = limit;
    return *this;
}

server_builder& server_builder::on_error(std::function<void(const std::exception_ptr&)> told) {
    options_.on_error = std::move(told);
    return *this;
}

server_builder& server_builder::on_state(connection_observer told) {
    options_.on_state = std::move(told);
    of_streams_only_ = "on_state";
    return *this;
}

server_builder& server_builder::on_message(std::function<void(std::string_view)> told) {
    options_.on_message = std::move(told);
    return *this;
}

server_builder& server_builder::authorize(std::function<bool(const connection&)> decide) {
    options_.authorize = std::move(decide);
    of_streams_only_ = "authorize";
    return *this;
}

server_builder& server_builder::log(logger to) {
    options_.log = std::move(to);
    return *this;
}

kephas::address server_builder::checked() const {
    const kephas::address where = parsed(network_, address_, tls_said_);
    const std::string text = to_string(where);
    if (where.tls) check_tls_options(options_.tls);
    if (!stream_handler_ && !datagram_handler_) refuse(fmt::format("\"{}\": there is no handler", text));
    if (is_datagram(network_) && !datagram_handler_) {
        refuse(fmt::format("\"{}\": the handler is for connections, but there are only datagrams", text));
    }
    if (!is_datagram(network_) && !stream_handler_) {
        refuse(fmt::format("\"{}\": the handler is for datagrams, but there are only connections", text));
    }
    if (is_datagram(network_) && of_streams_only_ != nullptr) {
        refuse(fmt::format("\"{}\": {} is for connections, but there are only datagrams", text, of_streams_only_));
    }
    if (!is_datagram(network_) && max_datagram_ != 0) {
        refuse(fmt::format("\"{}\": max_datagram is for datagrams, but there are only connections", text));
    }
    if (permissions_said_ && (!is_unix(network_) || where.path.starts_with('@'))) {
        refuse(fmt::format("\"{}\": permissions are those of the file of a Unix socket", text));
    }
    if (group_ < -1 || group_ >= std::int64_t{std::numeric_limits<gid_t>::max()}) {
        refuse(fmt::format("\"{}\": the group {} is out of range: -1, or 0 to {}", text, group_,
                           std::numeric_limits<gid_t>::max() - 1));
    }
    if (is_datagram(network_)) datagram_options().validate();
    else stream_options().validate();
    return where;
}

stream_server_options server_builder::stream_options() const {
    stream_server_options options = options_;
    if (group_ >= 0) options.access.group = static_cast<gid_t>(group_);
    return options;
}

datagram_server_options server_builder::datagram_options() const {
    const stream_server_options from = stream_options();
    datagram_server_options options;
    options.socket.max_size = max_datagram_;
    options.drain_timeout = from.drain_timeout;
    options.access = from.access;
    options.on_error = from.on_error;
    options.on_message = from.on_message;
    options.log = from.log;
    return options;
}

void server_builder::validate() const { (void)checked(); }

std::unique_ptr<socket_server> server_builder::build() const {
    kephas::address where = checked();
    if (is_datagram(network_)) return std::make_unique<datagram_server>(std::move(where), datagram_handler_, datagram_options());
    return std::make_unique<stream_server>(std::move(where), stream_handler_, stream_options());
}

std::unique_ptr<socket_server> server_builder::build(asio::io_context& context) const {
    kephas::address where = checked();
    if (is_datagram(network_)) {
        return std::make_unique<datagram_server>(context, std::move(where), datagram_handler_, datagram_options());
    }
    return std::make_unique<stream_server>(context, std::move(where), stream_handler_, stream_options());
}

client_builder& client_builder::network(kephas::network kind) {
    network_ = kind;
    return *this;
}

client_builder& client_builder::address(std::string text) {
    address_ = std::move(text);
    return *this;
}

client_builder& client_builder::tls(tls_client_options options) {
    tls_ = std::move(options);
    return *this;
}

client_builder& client_builder::keep_alive(duration idle) {
    keep_alive_ = idle;
    return *this;
}

client_builder& client_builder::on_state(connection_observer told) {
    on_state_ = std::move(told);
    return *this;
}

kephas::address client_builder::checked() const {
    kephas::address where = parsed(network_, address_, tls_.has_value());
    if (is_datagram(network_)) refuse(fmt::format("\"{}\": connect_datagram is for datagrams", to_string(where)));
    if (keep_alive_ < duration::zero()) refuse("keep_alive is negative");
    return where;
}

void client_builder::validate() const { (void)build(); }

std::unique_ptr<stream_client> client_builder::build() const {
    kephas::address where = checked();
    connect_options options;
    if (tls_) options.tls = std::make_shared<const tls_client_context>(*tls_);
    options.keep_alive = keep_alive_;
    options.on_state = on_state_;
    return std::make_unique<stream_client>(std::move(where), std::move(options));
}

}  // namespace kephas::config
