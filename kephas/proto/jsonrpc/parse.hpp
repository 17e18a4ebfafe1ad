#pragma once

#include <kephas/proto/json/value.hpp>
#include <kephas/proto/jsonrpc/message.hpp>

#include <cstddef>
#include <string>
#include <string_view>
#include <variant>

namespace kephas::jsonrpc {

struct limits {
    std::size_t max_size = 512 * 1024;  ///< Bytes of text.
    std::size_t max_depth = 64;         ///< Arrays and objects within each other, the envelope included.
    std::size_t max_batch = 100;        ///< Messages in a batch; more are answered by one error, none is run.
};

/// Reads a JSON-RPC 2.0 text: requests, notifications and responses, alone or in a batch. It cannot fail: a text that
/// is refused as a whole is a document with a single `invalid_request_message` (-32700 if it is not JSON; -32600 if it
/// is too big, or a batch that is empty or too long). `params` that are neither array nor object are -32600.
[[nodiscard]] document parse(std::string_view text, const limits& limits = {});

/// JSON with a `type` and no `jsonrpc`: what it means is not decided here.
struct event_text {
    json value;  ///< An object.
};

/// A text that is nothing of ours. Answered by `encode_error_event(code, message)`.
struct unknown_text {
    std::string_view code;  ///< "invalid_json", or "invalid_message" for JSON of another shape.
    std::string message;
};

/// Tells what a text message is, in one parse. An object with `jsonrpc`, or an array: JSON-RPC. An object with `type`:
/// an event. What is not JSON is taken for JSON-RPC if it begins with `[` or contains `"jsonrpc"`.
[[nodiscard]] std::variant<document, event_text, unknown_text> classify(std::string_view text,
                                                                        const limits& limits = {});

}  // namespace kephas::jsonrpc
