#include "idle_connections.hpp"

#include <support/tls_server.hpp>

#include <openssl/ssl.h>

#include <memory>

using namespace kephas;
using namespace kephas::test;

namespace {

int open_connection(std::uint16_t port, SSL_CTX* context) {
    const int fd = connect_to(port);
    const std::unique_ptr<SSL, void (*)(SSL*)> ssl{SSL_new(context), &SSL_free};
    SSL_set_fd(ssl.get(), fd);
    REQUIRE(SSL_connect(ssl.get()) == 1);
    REQUIRE(SSL_write(ssl.get(), opening_handshake.data(), static_cast<int>(opening_handshake.size())) > 0);
    std::array<char, 1024> head;
    REQUIRE(SSL_read(ssl.get(), head.data(), head.size()) > 0);
    REQUIRE(std::string_view{head.data(), 12} == "HTTP/1.1 101");
    return fd;
}

void measure(int version) {
    const std::unique_ptr<SSL_CTX, void (*)(SSL_CTX*)> context{SSL_CTX_new(TLS_client_method()), &SSL_CTX_free};
    SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_OFF);
    SSL_CTX_set_max_proto_version(context.get(), version);
    running_server server{echo_routes(), tls_server_options()};
    const double bytes = idle_connection_bytes(fmt::format("an idle connection over TLS 1.{}", version - TLS1_VERSION), server,
                                               [&](std::uint16_t port) { return open_connection(port, context.get()); });
    CHECK(bytes <= 18'500);  // of which OpenSSL 3.0 takes 14,000: see docs/design/tls.md
}

}  // namespace

TEST_CASE("an idle connection over TLS owns no buffers") {
    measure(TLS1_2_VERSION);
    measure(TLS1_3_VERSION);
}
