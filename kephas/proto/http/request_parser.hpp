#pragma once

#include <kephas/base/bytes.hpp>

#include <kephas/proto/http/head_collector.hpp>
#include <kephas/proto/http/request.hpp>
#include <kephas/proto/http/status.hpp>

#include <cstddef>
#include <optional>
#include <utility>

namespace kephas::http {

/// Reads the head of one request, strictly: HTTP/1.1 and nothing older (505), an origin-form target in visible ASCII
/// with valid escapes, exactly one valid `Host`, no `Transfer-Encoding`, at most one of each header that must be
/// unique, and everything that `head_collector` asks for. What is left can be read in one way only.
///
/// Errors: 400 malformed, 414 target too long, 431 head too large or too many headers, 505 another version. The first
/// one stays; bytes that come later are ignored.
class request_parser {
public:
    /// Larger values of `head_limits` are cut to these.
    static constexpr std::size_t largest_head = 15 * 1024;
    static constexpr std::size_t most_headers = 500;

    explicit request_parser(head_limits limits = {}) noexcept;

    /// Takes the next bytes and says how many of them belong to the head; what follows (the body, or the first frames
    /// of a client that did not wait for the answer) is the caller's. 0 once it is complete or has failed.
    std::size_t handle(bytes_view in);

    [[nodiscard]] bool complete() const noexcept { return request_.has_value(); }
    [[nodiscard]] const std::optional<refusal>& failure() const noexcept { return failure_; }

    /// The request; only once it is complete.
    [[nodiscard]] const http::request& request() const& noexcept { return *request_; }
    [[nodiscard]] http::request&& request() && noexcept { return std::move(*request_); }

private:
    head_collector head_;
    std::optional<http::request> request_;
    std::optional<refusal> failure_;
};

}  // namespace kephas::http
