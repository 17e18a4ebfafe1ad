#include <kephas/server/router.hpp>

#include <fmt/format.h>

#include <stdexcept>

namespace kephas {

void routes::index_small_ids() {
    static constexpr std::size_t most = 1024;
    small_ids_.clear();
    for (const auto& [id, target] : commands_) {
        const auto number = static_cast<std::size_t>(id);
        if (number >= most) continue;
        if (number >= small_ids_.size()) small_ids_.resize(number + 1);
        small_ids_[number] = &target;
    }
}

const route* routes::other_command(command_id id) const noexcept {
    const auto found = commands_.find(id);
    return found == commands_.end() ? nullptr : &found->second;
}

const route* routes::method(std::string_view name) const noexcept {
    const auto found = methods_.find(name);
    return found == methods_.end() ? nullptr : &found->second;
}

void router::refuse_second(const char* name) {
    throw std::invalid_argument{fmt::format("{} is registered already", name)};
}

void router::add_command(command_id id, route target) {
    const auto number = static_cast<std::uint32_t>(id);
    if (is_reserved(id)) {
        throw std::invalid_argument{fmt::format("command {:#010x} is reserved for JSON-RPC", number)};
    }
    if (!frozen_.commands_.try_emplace(id, std::move(target)).second) {
        throw std::invalid_argument{fmt::format("command {:#010x} is registered already", number)};
    }
}

void router::add_method(std::string name, route target) {
    if (name.starts_with("rpc.")) {  // JSON-RPC 2.0, section 4.3
        throw std::invalid_argument{fmt::format("method {}: names that begin with \"rpc.\" are reserved", name)};
    }
    if (!frozen_.methods_.try_emplace(name, std::move(target)).second) {
        throw std::invalid_argument{fmt::format("method {} is registered already", name)};
    }
}

}  // namespace kephas
