#pragma once

#include <kephas/proto/json/value.hpp>
#include <kephas/proto/jsonrpc/error_object.hpp>

#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace kephas::jsonrpc {

/// Finds the parameters called `names`, in that order, in the params of a request: by position in an array, by name in
/// an object (JSON-RPC 2.0, section 4.2). `bound` gets a place for each name: a null pointer for one that is missing, and
/// whether it may be is the caller's to say. The pointers live as long as `params`.
/// Errors: -32602, with `{"parameter":"c","reason":"unknown"}` or `{"reason":"too many","expected":2,"got":3}` as data.
[[nodiscard]] std::optional<error_object> bind_params(const json& params, std::span<const std::string> names,
                                                      std::span<const json*> bound);

/// -32602 with `{"parameter":"b","expected":"number"}` as data: it is missing, or of another type. `expected` is what
/// `json_type_name` says.
[[nodiscard]] error_object invalid_parameter(std::string_view name, std::string_view expected);

}  // namespace kephas::jsonrpc
