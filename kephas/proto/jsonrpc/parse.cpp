#include <kephas/proto/json/parse.hpp>
#include <kephas/proto/jsonrpc/parse.hpp>

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
result<json, json_error> read(std::string_view text, const limits& limits) {
    return parse_json(text, {.max_depth = limits.max_depth}, "id");
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

std::optional<request_id> id_of(const json& object) {
    const json* const id = object.find("id");
    return id != nullptr ? request_id::from_json(*id) : std::nullopt;
}

// Moves a member out of its object, which is not needed any more.
json take(json& object, std::string_view key) {
    json* const member = object.find(key);
    return member != nullptr ? std::move(*member) : json{};
}

message to_response(json& object) {
    auto id = id_of(object);
    const json& error = object.at("error");  // null counts as absent: JSON-RPC 1.0 wrote both members
    if (!id || object.at("jsonrpc") != "2.0" || error.is_null() != object.contains("result"))
        return invalid_response_message{std::move(id)};
    if (error.is_null()) return response{std::move(*id), take(object, "result")};

    const auto code = error.at("code").as_int64();
    const auto text = error.at("message").as_string();
    if (!code || !text) return invalid_response_message{std::move(id)};
    error_object failure{*code, std::string{*text}, std::nullopt};
    if (const json* const data = error.find("data")) failure.data = *data;
    return response{std::move(*id), std::move(failure)};
}

message to_request(json& object) {
    auto id = id_of(object);
    const bool id_is_valid = id.has_value() || !object.contains("id");
    const auto method = object.at("method").as_string();
    const json* const params = object.find("params");
    const bool params_are_valid = params == nullptr || params->is_array() || params->is_object();
    if (!id_is_valid || object.at("jsonrpc") != "2.0" || !method || !params_are_valid)
        return invalid_request_message{id.value_or(request_id{}), invalid_request()};
    return request{std::string{*method}, take(object, "params"), std::move(id)};
}

// Whatever has a method is a request; whatever has a result or an error instead was meant for a response.
message to_message(json& value) {
    if (!value.contains("method") && (value.contains("result") || value.contains("error"))) return to_response(value);
    return to_request(value);
}

document to_document(json& value, const limits& limits) {
    document read;
    if (!value.is_array()) {
        read.messages.push_back(to_message(value));
        return read;
    }
    if (value.empty()) return refuse(invalid_request());
    if (value.size() > limits.max_batch)
        return refuse(invalid_request(reason_and_limit("too many messages in a batch", limits.max_batch)));
    read.batch = true;
    read.messages.reserve(value.size());
    for (json& element : value.elements()) read.messages.push_back(to_message(element));
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
    auto value = read(text, limits);
    if (!value) return refuse(unreadable(value.error(), limits));
    return to_document(*value, limits);
}

std::variant<document, event_text, unknown_text> classify(std::string_view text, const limits& limits) {
    if (text.size() > limits.max_size) {
        if (meant_as_jsonrpc(text.substr(0, limits.max_size))) return refuse(too_big(limits));
        return unknown_text{"invalid_message", "The message is too big"};
    }
    auto value = read(text, limits);
    if (!value) {
        if (meant_as_jsonrpc(text)) return refuse(unreadable(value.error(), limits));
        return unknown_text{"invalid_json", "Invalid JSON: " + std::string{describe(value.error().reason)}};
    }
    if (value->is_array() || value->contains("jsonrpc")) return to_document(*value, limits);
    if (value->contains("type")) return event_text{std::move(*value)};
    return unknown_text{"invalid_message", "Neither a JSON-RPC message nor an event"};
}

}  // namespace kephas::jsonrpc
