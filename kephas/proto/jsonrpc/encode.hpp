#pragma once

#include <kephas/proto/json/value.hpp>
#include <kephas/proto/jsonrpc/error_object.hpp>
#include <kephas/proto/jsonrpc/request_id.hpp>

#include <cstdint>
#include <string>
#include <string_view>

namespace kephas::jsonrpc {

/// `{"jsonrpc":"2.0","result":...,"id":...}`; a null result is written, not left out.
[[nodiscard]] std::string encode_result(const request_id& id, const json& result);
void encode_result(const request_id& id, const json& result, std::string& append_to);

/// `{"jsonrpc":"2.0","error":{"code":...,"message":...,"data":...},"id":...}`; `data` only if there is any.
[[nodiscard]] std::string encode_error(const request_id& id, const error_object& error);

/// A call of ours. Null params are left out; otherwise they must be an array or an object.
[[nodiscard]] std::string encode_request(const request_id& id, std::string_view method, const json& params = {});

/// A call without an id, which the peer does not answer.
[[nodiscard]] std::string encode_notification(std::string_view method, const json& params = {});

/// The error reply of a binary command: id null, and the command in `data`:
/// `{"jsonrpc":"2.0","error":{"code":-32601,"message":"unknown command","data":{"command":512}},"id":null}`.
/// Data of the error's own goes to the member `details` beside it.
[[nodiscard]] std::string encode_command_error(std::uint32_t command, const error_object& error);

/// The error event: `{"type":"error","payload":{"code":"invalid_json","message":"..."}}`.
[[nodiscard]] std::string encode_error_event(std::string_view code, std::string_view message);

}  // namespace kephas::jsonrpc
