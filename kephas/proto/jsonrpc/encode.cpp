#include <kephas/proto/json/write.hpp>
#include <kephas/proto/jsonrpc/encode.hpp>

#include <utility>

namespace kephas::jsonrpc {

namespace {

constexpr std::string_view envelope = R"({"jsonrpc":"2.0",)";

std::string with_method(std::string_view method, const json& params) {
    std::string text{envelope};
    text += R"("method":)";
    write_json_string(method, text);
    if (!params.is_null()) {
        text += R"(,"params":)";
        write_json(params, text);
    }
    return text;
}

std::string with_id(std::string text, const request_id& id) {
    text += R"(,"id":)";
    text += id.text();
    text += '}';
    return text;
}

}  // namespace

std::string encode_result(const request_id& id, const json& result) {
    std::string text;
    text.reserve(120);  // most results are short
    encode_result(id, result, text);
    return text;
}

void encode_result(const request_id& id, const json& result, std::string& append_to) {
    append_to += envelope;
    append_to += R"("result":)";
    write_json(result, append_to);
    append_to += R"(,"id":)";
    append_to += id.text();
    append_to += '}';
}

std::string encode_error(const request_id& id, const error_object& error) {
    std::string text{envelope};
    text += R"("error":{"code":)";
    text += std::to_string(error.code);
    text += R"(,"message":)";
    write_json_string(error.message, text);
    if (error.data) {
        text += R"(,"data":)";
        write_json(*error.data, text);
    }
    text += '}';
    return with_id(std::move(text), id);
}

std::string encode_request(const request_id& id, std::string_view method, const json& params) {
    return with_id(with_method(method, params), id);
}

std::string encode_notification(std::string_view method, const json& params) {
    return with_method(method, params) + '}';
}

std::string encode_command_error(std::uint32_t command, const error_object& error) {
    json data = json::object({{"command", command}});
    if (error.data) data["details"] = *error.data;
    return encode_error({}, {error.code, error.message, std::move(data)});
}

std::string encode_error_event(std::string_view code, std::string_view message) {
    std::string text = R"({"type":"error","payload":{"code":)";
    write_json_string(code, text);
    text += R"(,"message":)";
    write_json_string(message, text);
    text += "}}";
    return text;
}

}  // namespace kephas::jsonrpc
