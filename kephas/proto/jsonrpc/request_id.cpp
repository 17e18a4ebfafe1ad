#include <kephas/proto/json/write.hpp>
#include <kephas/proto/jsonrpc/request_id.hpp>

namespace kephas::jsonrpc {

request_id::request_id(std::string_view text) : text_{} { write_json_string(text, text_); }

std::optional<request_id> request_id::from_json(const json& value) {
    if (!value.is_null() && !value.is_string() && !value.is_number()) return std::nullopt;
    request_id id;
    id.text_.clear();
    write_json(value, id.text_);
    return id;
}

}  // namespace kephas::jsonrpc
