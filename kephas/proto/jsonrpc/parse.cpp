#include <kephas/proto/json/parts.hpp>
#include <kephas/proto/jsonrpc/parse.hpp>

#include <cstddef>
#include <optional>
#include <utility>

namespace kephas::jsonrpc {

namespace {

document refuse(error_object error) {
    document refused;
    refused.messages.emplace_back(invalid_request_message{{}, std::move(error)});
    return refused;
}

json reason_and_limit(std::string_view reason, std::size_t limit) {
    return json::object({{"reason", reason}, {"limit", limit}});
}

// The text of an id's number is kept; everything else is a plain value.
result<json_parts, json_error> read(std::string_view text, const limits& limits) {
    return parse_json_parts(text, {.max_depth = limits.max_depth}, "id");
}

error_object unreadable(const json_error& error, const limits& limits) {
    using reason_type = json_error::reason_type;
    if (error.reason == reason_type::syntax || error.reason == reason_type::invalid_string) return parse_error();
    if (error.reason == reason_type::too_deep)
        return parse_error(reason_and_limit(describe(error.reason), limits.max_depth));
    return parse_error(json::object({{"reason", describe(error.reason)}}));
}

error_object too_big(const limits& limits) {
    return invalid_request(reason_and_limit("the message is too big", limits.max_size));
}

/// The members that a message may have; a null pointer is one that is missing.
struct fields {
    json* jsonrpc = nullptr;
    json* id = nullptr;
    json* method = nullptr;
    json* params = nullptr;
    json* result = nullptr;
    json* error = nullptr;
    json* type = nullptr;  // of an event

    fields() = default;
    explicit fields(json_parts& parts) {
        for (std::size_t i = 0; i < parts.keys.size(); ++i) {
            if (json** const field = find(parts.keys[i])) *field = &parts.values[i];
        }
    }
    /// A value that is not an object has none.
    explicit fields(json& value)
        : jsonrpc{value.find("jsonrpc")},
          id{value.find("id")},
          method{value.find("method")},
          params{value.find("params")},
          result{value.find("result")},
          error{value.find("error")} {}

    [[nodiscard]] bool says_version() const { return jsonrpc != nullptr && jsonrpc->as_string() == "2.0"; }
    [[nodiscard]] std::optional<request_id> valid_id() const {
        return id != nullptr ? request_id::from_json(*id) : std::nullopt;
    }

private:
    [[nodiscard]] json** find(std::string_view key) {
        if (key == "jsonrpc") return &jsonrpc;
        if (key == "id") return &id;
        if (key == "method") return &method;
        if (key == "params") return &params;
        if (key == "result") return &result;
        if (key == "error") return &error;
        if (key == "type") return &type;
        return nullptr;
    }
};

message to_response(const fields& has) {
    auto id = has.valid_id();
    const bool failed = has.error != nullptr && !has.error->is_null();  // null counts as absent: JSON-RPC 1.0 wrote both members
    if (!id || !has.says_version() || failed == (has.result != nullptr)) return invalid_response_message{std::move(id)};
    if (!failed) return response{std::move(*id), std::move(*has.result)};

    const auto code = has.error->at("code").as_int64();
    const auto text = has.error->at("message").as_string();
    if (!code || !text) return invalid_response_message{std::move(id)};
    error_object failure{*code, std::string{*text}, std::nullopt};
    if (json* const data = has.error->find("data")) failure.data = std::move(*data);
    return response{std::move(*id), std::move(failure)};
}

message to_request(const fields& has) {
    auto id = has.valid_id();
    const bool id_is_valid = id.has_value() || has.id == nullptr;
    const auto method = has.method != nullptr ? has.method->as_string() : std::nullopt;
    const bool params_are_valid = has.params == nullptr || has.params->is_array() || has.params->is_object();
    if (!id_is_valid || !has.says_version() || !method || !params_are_valid)
        return invalid_request_message{id.value_or(request_id{}), invalid_request()};
    return request{std::string{*method}, has.params != nullptr ? std::move(*has.params) : json{}, std::move(id)};
}

// Whatever has a method is a request; whatever has a result or an error instead was meant for a response.
message to_message(const fields& has) {
    if (has.method == nullptr && (has.result != nullptr || has.error != nullptr)) return to_response(has);
    return to_request(has);
}

document single(const fields& has) {
    document read;
    read.messages.push_back(to_message(has));
    return read;
}

// Of a text that is not an object.
document to_document(json& value, const limits& limits) {
    if (!value.is_array()) return single({});
    if (value.empty()) return refuse(invalid_request());
    if (value.size() > limits.max_batch)
        return refuse(invalid_request(reason_and_limit("too many messages in a batch", limits.max_batch)));
    document read{.batch = true, .messages = {}};
    read.messages.reserve(value.size());
    for (json& element : value.elements()) read.messages.push_back(to_message(fields{element}));
    return read;
}

bool meant_as_jsonrpc(std::string_view text) {
    const auto first = text.find_first_not_of(" \t\r\n");
    if (first != std::string_view::npos && text[first] == '[') return true;
    return text.find("\"jsonrpc\"") != std::string_view::npos;
}

}  // namespace

document parse(std::string_view text, const limits& limits) {
    if (text.size() > limits.max_size) return refuse(too_big(limits));
    auto parts = read(text, limits);
    if (!parts) return refuse(unreadable(parts.error(), limits));
    return parts->is_object ? single(fields{*parts}) : to_document(parts->values.front(), limits);
}

std::variant<document, event_text, unknown_text> classify(std::string_view text, const limits& limits) {
    if (text.size() > limits.max_size) {
        if (meant_as_jsonrpc(text.substr(0, limits.max_size))) return refuse(too_big(limits));
        return unknown_text{"invalid_message", "The message is too big"};
    }
    auto parts = read(text, limits);
    if (!parts) {
        if (meant_as_jsonrpc(text)) return refuse(unreadable(parts.error(), limits));
        return unknown_text{"invalid_json", "Invalid JSON: " + std::string{describe(parts.error().reason)}};
    }
    if (parts->is_object) {
        const fields has{*parts};
        if (has.jsonrpc != nullptr) return single(has);
        if (has.type != nullptr) return event_text{parts->take()};
    } else if (parts->values.front().is_array()) {
        return to_document(parts->values.front(), limits);
    }
    return unknown_text{"invalid_message", "Neither a JSON-RPC message nor an event"};
}

}  // namespace kephas::jsonrpc
