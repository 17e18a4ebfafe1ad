#pragma once

#include <kephas/base/error.hpp>

#include <kephas/proto/json/value.hpp>
#include <kephas/proto/jsonrpc/error_object.hpp>
#include <kephas/proto/jsonrpc/request_id.hpp>

#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace kephas::jsonrpc {

/// A call, or a notification if it has no id: that is never answered, whatever happens.
struct request {
    std::string method;
    json params;  ///< An array, an object, or null if there were none.
    std::optional<request_id> id;

    [[nodiscard]] bool is_notification() const noexcept { return !id.has_value(); }
    bool operator==(const request&) const = default;
};

/// The answer to a call of ours. Never answered. A null id answers a message of which the peer could not tell the id.
struct response {
    request_id id;
    result<json, error_object> outcome;
};

/// Came in the place of a request and is answered by `error`; the id is null unless it could be told.
struct invalid_request_message {
    request_id id;
    error_object error;
    bool operator==(const invalid_request_message&) const = default;
};

/// Came in the place of a response: a call of that id, if there is one, ends with `errc::invalid_response`. Never
/// answered, so that two peers cannot keep answering each other.
struct invalid_response_message {
    std::optional<request_id> id;
    bool operator==(const invalid_response_message&) const = default;
};

using message = std::variant<request, response, invalid_request_message, invalid_response_message>;

/// What one JSON-RPC text says: one message, or a batch of them, which may have only one too.
struct document {
    bool batch = false;
    std::vector<message> messages;  ///< Never empty.
};

}  // namespace kephas::jsonrpc
