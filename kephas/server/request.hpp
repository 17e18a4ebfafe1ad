#pragma once

#include <kephas/base/bytes.hpp>
#include <kephas/base/slice.hpp>

#include <kephas/proto/command/frame.hpp>
#include <kephas/proto/json/value.hpp>
#include <kephas/proto/jsonrpc/failures.hpp>
#include <kephas/proto/websocket/opcode.hpp>

#include <kephas/server/client.hpp>

#include <optional>
#include <string_view>

namespace kephas {

struct request_state;

/// What a handler was called for. Lifetime: valid until the handler's awaitable has completed, under every policy;
/// `share()` keeps the bytes for longer. Copying it copies a pointer.
class request {
public:
    explicit request(const request_state& state) noexcept : state_{&state} {}

    [[nodiscard]] kephas::client client() const;
    /// The id of the command; nothing for text and for JSON-RPC on text.
    [[nodiscard]] std::optional<command_id> command() const noexcept;
    /// The name of the JSON-RPC method; empty for everything else.
    [[nodiscard]] std::string_view method() const noexcept;
    /// The opcode of the message: of `raw` and text messages the whole of it is the payload.
    [[nodiscard]] websocket::opcode opcode() const noexcept;

    [[nodiscard]] bytes_view payload() const noexcept;
    [[nodiscard]] std::string_view text() const noexcept { return as_text(payload()); }
    /// The payload as a slice that may be kept, and returned as the reply, without a copy.
    [[nodiscard]] slice share() const noexcept;

protected:
    const request_state* state_;
};

/// What the handler of a JSON-RPC method was called for.
class rpc_request : public request {
public:
    using request::request;
    /// An array, an object, or null if there were none.
    [[nodiscard]] const json& params() const noexcept;
    /// Nobody will see the result.
    [[nodiscard]] bool is_notification() const noexcept;
};

}  // namespace kephas
