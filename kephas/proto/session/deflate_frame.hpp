#pragma once

#include <kephas/proto/session/outbound_queue.hpp>
#include <kephas/proto/websocket/deflater.hpp>

namespace kephas {

/// `frame`, an unmasked and unfragmented data frame whose header is all in its head, or all in its body if it has no
/// head: compressed with RSV1 set and `as_is` (RFC 7692 7.2.1), or as it was if that is not worth it.
[[nodiscard]] outbound_frame deflate_frame(outbound_frame&& frame, websocket::deflater& deflater);

}  // namespace kephas
