#pragma once

#include <kephas/net/stream.hpp>
#include <kephas/net/tls_context.hpp>

#include <memory>
#include <string>

namespace kephas {

/// The server's side of a TLS connection over `transport`. The handshake is a part of the first read; until it is done
/// nothing can be written. It owns no buffer while it is idle.
///
/// A read ends with `asio::error::eof` when the peer has ended the stream as TLS wants it (close_notify), and with
/// `errc::truncated` when it just ended; either way the peer may still read. After a read has failed in another way,
/// further ones discard what still arrives, and return how much that was.
///
/// Lifetime: `plain_answer` is sent as it is to a peer that speaks HTTP instead of TLS, and must stay; it may be empty.
[[nodiscard]] std::unique_ptr<stream> make_tls_stream(std::unique_ptr<stream> transport,
                                                      std::shared_ptr<const tls_context> context,
                                                      std::string_view plain_answer = {});

}  // namespace kephas
