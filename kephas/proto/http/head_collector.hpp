#pragma once

#include <kephas/base/bytes.hpp>

#include <kephas/proto/http/header.hpp>
#include <kephas/proto/http/status.hpp>

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace kephas::http {

struct head_limits {
    std::size_t max_head_size = 15 * 1024;   ///< Bytes, with the empty line at the end. More is 431.
    std::size_t max_headers = 100;           ///< Header lines. More is 431.
    std::size_t max_target_size = 8 * 1024;  ///< Bytes of a request's target. More is 414.
};

/// Collects the head of a message: the start line, the headers and the empty line (RFC 9112 2.1). It looks at each byte
/// once, however the bytes are cut, and refuses what proxies and servers are known to read differently: bare CR or LF,
/// control characters, folded lines, blanks before a colon, and lines that are no header.
///
/// Holds at most what has arrived, and never more than `max_head_size` of it.
class head_collector {
public:
    explicit head_collector(head_limits limits = {}) noexcept : limits_{limits} {}

    /// Takes the next bytes and says how many of them belong to the head: the rest came after it. 0 once it is complete
    /// or has failed.
    std::size_t handle(bytes_view in);

    [[nodiscard]] bool complete() const noexcept { return complete_; }
    [[nodiscard]] const std::optional<refusal>& failure() const noexcept { return failure_; }
    [[nodiscard]] const head_limits& limits() const noexcept { return limits_; }

    // Once it is complete.
    [[nodiscard]] std::string_view text() const noexcept { return text_; }
    [[nodiscard]] std::string_view start_line() const noexcept {
        return std::string_view{text_}.substr(0, start_line_size_);
    }
    /// In the order in which they came, values without outer blanks.
    [[nodiscard]] std::span<const header> headers() const noexcept { return headers_; }

private:
    [[nodiscard]] std::optional<refusal> take(char c);
    [[nodiscard]] std::optional<refusal> end_line(std::string_view line);
    [[nodiscard]] std::optional<refusal> add_header(std::string_view line);

    head_limits limits_;
    std::string text_;
    std::vector<header> headers_;
    std::optional<refusal> failure_;
    std::size_t scanned_ = 0;
    std::size_t line_start_ = 0;
    std::size_t start_line_size_ = 0;
    bool after_cr_ = false;
    bool complete_ = false;
};

}  // namespace kephas::http
