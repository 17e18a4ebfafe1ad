#include <kephas/server/rpc_binding.hpp>

#include <fmt/format.h>

namespace kephas::detail {

namespace {
[[noreturn]] void refuse(jsonrpc::error_object error) {
    throw request_error{error.code, error.message, std::move(error.data)};
}
}  // namespace

void refuse_parameter(const std::string& name, std::string_view expected) {
    refuse(jsonrpc::invalid_parameter(name, expected));
}

void find_parameters(const json& params, const std::vector<std::string>& names, std::span<const json*> found) {
    if (auto error = jsonrpc::bind_params(params, names, found)) refuse(std::move(*error));
}

void check_parameter_count(std::size_t named, std::size_t taken) {
    if (named == taken) return;
    throw std::invalid_argument{fmt::format("{} parameters are named, but the handler takes {}", named, taken)};
}

}  // namespace kephas::detail
