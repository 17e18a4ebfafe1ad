#include <kephas/proto/jsonrpc/params.hpp>

#include <algorithm>
#include <cstddef>
#include <utility>

namespace kephas::jsonrpc {

namespace {

error_object unknown_parameter(std::string_view name) {
    return invalid_params(json::object({{"parameter", name}, {"reason", "unknown"}}));
}

error_object too_many(std::size_t expected, std::size_t got) {
    return invalid_params(json::object({{"reason", "too many"}, {"expected", expected}, {"got", got}}));
}

}  // namespace

std::optional<error_object> bind_params(const json& params, std::span<const std::string> names,
                                        std::span<const json*> bound) {
    std::ranges::fill(bound, nullptr);
    if (params.is_array()) {
        if (params.size() > names.size()) return too_many(names.size(), params.size());
        std::ranges::transform(params.elements(), bound.begin(), [](const json& element) { return &element; });
        return std::nullopt;
    }
    // Stops at the first unknown name, so that it takes no more than names.size() squared, whatever the peer sends.
    for (const auto& [key, value] : params.members()) {
        const auto name = std::find(names.begin(), names.end(), key);
        if (name == names.end()) return unknown_parameter(key);
        bound[static_cast<std::size_t>(name - names.begin())] = &value;
    }
    return std::nullopt;
}

error_object invalid_parameter(std::string_view name, std::string_view expected) {
    return invalid_params(json::object({{"parameter", name}, {"expected", expected}}));
}

}  // namespace kephas::jsonrpc
