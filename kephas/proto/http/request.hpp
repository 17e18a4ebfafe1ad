#pragma once

#include <kephas/base/peer_credentials.hpp>
#include <kephas/base/tls_info.hpp>

#include <kephas/proto/http/header.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace kephas::http {

/// The head of a request. A body is never kept: `content_length` says how many bytes of one follow.
struct request {
    std::string method{};        ///< "GET"; case matters.
    std::string target{};        ///< As it came: "/a%20b?x=1".
    std::string path{};          ///< Percent-decoded: "/a b".
    std::string query_string{};  ///< Not decoded, without the question mark: "x=1".
    std::string version{};       ///< "HTTP/1.1".
    /// In the order of their first appearance. Headers that came several times are joined with ", " (RFC 9110 5.3).
    std::vector<http::header> headers{};
    std::uint64_t content_length = 0;
    std::optional<tls_info> tls{};  ///< What TLS has agreed on, the client's certificate among it; nothing without TLS.
    std::optional<peer_credentials> credentials{};  ///< Who has opened the Unix socket on which it came; nothing on others.

    /// The value of the header of that name, in any case of letters.
    /// Lifetime: a view into `headers`.
    [[nodiscard]] std::optional<std::string_view> header(std::string_view name) const noexcept;

    /// The decoded value of the first query parameter of that (decoded) name: "" for `?name` and for `?name=`.
    [[nodiscard]] std::optional<std::string> query(std::string_view name) const;

    bool operator==(const request&) const = default;
};

}  // namespace kephas::http
