#pragma once

#include <asio/local/stream_protocol.hpp>

#include <string>

namespace kephas {

/// Of the path in an `address`: a file, or with `@` in front a name without one (unix(7), abstract).
[[nodiscard]] inline asio::local::stream_protocol::endpoint unix_endpoint(std::string path) {
    if (path.starts_with('@')) path.front() = '\0';
    return asio::local::stream_protocol::endpoint{path};
}

}  // namespace kephas
