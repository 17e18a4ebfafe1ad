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

std::vector<const json*> find_parameters(const json& params, const std::vector<std::string>& names) {
    auto found = jsonrpc::bind_params(params, names);
    if (!found) refuse(std::move(found.error()));
    return std::move(*found);
}

void check_parameter_count(std::size_t named, std::size_t taken) {
    if (named == taken) return;
    throw std::invalid_argument{fmt::format("{} parameters are named, but the handler takes {}", named, taken)};
}

}  // namespace kephas::detail
