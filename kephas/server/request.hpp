#pragma once

#include <kephas/base/bytes.hpp>
#include <kephas/base/slice.hpp>

#include <kephas/proto/command/frame.hpp>
#include <kephas/proto/json/value.hpp>
#include <kephas/proto/websocket/opcode.hpp>

#include <kephas/server/client.hpp>

#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

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

/// Throw it in a handler to answer with an error of your choice; every other exception is answered by -32603
/// "Internal error" and logged.
class request_error : public std::runtime_error {
public:
    explicit request_error(const std::string& message, std::optional<json> data = {})
        : request_error{-32000, message, std::move(data)} {}
    request_error(std::int64_t code, const std::string& message, std::optional<json> data = {})
        : std::runtime_error{message}, code_{code}, data_{std::move(data)} {}

    [[nodiscard]] std::int64_t code() const noexcept { return code_; }
    [[nodiscard]] const std::optional<json>& data() const noexcept { return data_; }

private:
    std::int64_t code_;
    std::optional<json> data_;
};

}  // namespace kephas
