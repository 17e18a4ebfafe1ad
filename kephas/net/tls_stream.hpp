#pragma once

#include <kephas/net/stream.hpp>
#include <kephas/net/tls_client_context.hpp>
#include <kephas/net/tls_context.hpp>

#include <memory>
#include <string_view>

namespace kephas {

/// The server's side of a TLS connection over `transport`. The handshake is a part of the first reads; until it is done
/// (`handshaking()`) nothing can be written. It owns no buffer while it is idle.
///
/// A read ends with `asio::error::eof` when the peer has ended the stream as TLS wants it (close_notify), and with
/// `errc::truncated` when it just ended; either way the peer may still read. After a read has failed in another way,
/// further ones discard what still arrives, and return how much that was.
///
/// Lifetime: `plain_answer` is sent as it is to a peer that speaks HTTP instead of TLS, and must stay; it may be empty.
[[nodiscard]] std::unique_ptr<stream> make_tls_stream(std::unique_ptr<stream> transport,
                                                      std::shared_ptr<const tls_context> context,
                                                      std::string_view plain_answer = {});

/// The client's side: its first message is sent at once. `host`, a name or an IP address, is what it asks for and what the
/// server's certificate must be for, unless the context names another. A read fails with `errc::certificate_expired`,
/// `certificate_name_mismatch` or `certificate_not_trusted` if the certificate is not that.
[[nodiscard]] std::unique_ptr<stream> make_tls_client_stream(std::unique_ptr<stream> transport,
                                                             const std::shared_ptr<const tls_client_context>& context,
                                                             std::string_view host);

}  // namespace kephas
