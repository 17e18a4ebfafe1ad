#pragma once

#include <kephas/base/bytes.hpp>
#include <kephas/base/error.hpp>

#include <kephas/proto/http/head_collector.hpp>
#include <kephas/proto/http/header.hpp>
#include <kephas/proto/http/status.hpp>

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace kephas::http {

/// What a client asks for in its opening handshake (RFC 6455 4.1).
struct upgrade_offer {
    std::string host{};                       ///< With the port, unless it is the scheme's default.
    std::string target = "/";                 ///< Path and query; bytes that cannot stand there are percent-encoded.
    std::string key{};                        ///< From handshake_key(), new for each connection.
    std::string origin{};                     ///< Empty: no Origin header, as from a program that is no browser.
    std::vector<std::string> subprotocols{};  ///< The favourite first.
    std::string extensions{};                 ///< Value of Sec-WebSocket-Extensions; empty: none.
    std::vector<header> headers{};            ///< Added as they are: authorization, cookies.
};

/// The key for 16 random bytes.
[[nodiscard]] std::string handshake_key(std::span<const std::byte, 16> random);

/// The text of the request.
[[nodiscard]] std::string client_upgrade_request(const upgrade_offer& offer);

/// The head of a response.
struct response_head {
    status_code status{};  ///< Whatever the peer said, 100 to 999.
    std::string reason;    ///< The peer's text: not to be trusted.
    std::vector<header> headers;

    bool operator==(const response_head&) const = default;
};

/// Reads the head of a response, as strictly as `request_parser` reads requests, and within the same limits.
/// Errors: `failure()`, whose status says nothing here.
class response_parser {
public:
    explicit response_parser(head_limits limits = {}) noexcept : head_{limits} {}

    /// Takes the next bytes and says how many of them belong to the head: the rest are the first frames, or a body.
    std::size_t handle(bytes_view in);

    [[nodiscard]] bool complete() const noexcept { return response_.has_value(); }
    [[nodiscard]] const std::optional<refusal>& failure() const noexcept { return failure_; }

    /// The response; only once it is complete.
    [[nodiscard]] const response_head& response() const& noexcept { return *response_; }
    [[nodiscard]] response_head&& response() && noexcept { return std::move(*response_); }

private:
    head_collector head_;
    std::optional<response_head> response_;
    std::optional<refusal> failure_;
};

/// What the server chose.
struct upgrade_answer {
    std::string subprotocol;  ///< One of those offered, or empty.
    std::string extensions;   ///< Not yet compared with the offer: that is for who made it.

    bool operator==(const upgrade_answer&) const = default;
};

/// Checks the answer to `offer` (RFC 6455 4.1). A failure holds the server's status; when that is 101 the server agreed
/// but broke the protocol.
[[nodiscard]] result<upgrade_answer, refusal> check_upgrade_response(const response_head& response,
                                                                     const upgrade_offer& offer);

}  // namespace kephas::http
