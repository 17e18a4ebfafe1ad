#pragma once

#include <support/certificates.hpp>
#include <support/running_server.hpp>

#include <string>
#include <utility>

namespace kephas::test {

[[nodiscard]] inline tls_certificate in_memory(const key_pair& pair) {
    return {pem_text(pair.certificate), pem_text(pair.key)};
}

/// A wss listener with the certificate for "localhost".
[[nodiscard]] inline server_options tls_server_options() {
    server_options options = quiet_options();
    options.listen = {"wss://127.0.0.1:0/ws"};
    options.rate_limit = no_rate_limit();
    options.control_rate_limit = no_rate_limit();
    options.tls.certificates = {in_memory(localhost_pair())};
    return options;
}

/// Echoes every message, text as text.
[[nodiscard]] inline router echo_routes(dispatch policy = dispatch::on_strand) {
    router routes;
    routes.raw(policy, [](request r) -> asio::awaitable<std::optional<payload>> { co_return payload{r.share()}; });
    return routes;
}

}  // namespace kephas::test
