#pragma once

#include <kephas/proto/json/value.hpp>

#include <concepts>
#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace kephas::jsonrpc {

/// The id of a call: a string, a number or null (JSON-RPC 2.0, section 4). It is kept as the JSON text that goes back
/// to the peer, so that a number returns as it came: `1.0`, `1e3`, and those that no double holds.
/// Two ids are equal if their texts are; `1` and `"1"` and `1.0` are three.
class request_id {
public:
    request_id() = default;  ///< null
    explicit request_id(std::string_view text);
    explicit request_id(const char* text) : request_id{std::string_view{text}} {}
    explicit request_id(json_integer auto number) : text_{std::to_string(number)} {}

    /// `nullopt` for a boolean, an array or an object. Numbers have to be parsed with their text kept.
    [[nodiscard]] static std::optional<request_id> from_json(const json& value);

    /// As it is written in a message.
    [[nodiscard]] const std::string& text() const noexcept { return text_; }
    [[nodiscard]] bool is_null() const noexcept { return text_ == "null"; }

    friend bool operator==(const request_id&, const request_id&) = default;

private:
    std::string text_ = "null";
};

}  // namespace kephas::jsonrpc

template <>
struct std::hash<kephas::jsonrpc::request_id> {
    [[nodiscard]] std::size_t operator()(const kephas::jsonrpc::request_id& id) const noexcept {
        return std::hash<std::string>{}(id.text());
    }
};
