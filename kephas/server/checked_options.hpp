#pragma once

#include <kephas/proto/session/session_machine.hpp>

#include <kephas/server/options.hpp>

#include <memory>

namespace kephas {

/// Throws `std::invalid_argument` for options that contradict each other, and says which.
[[nodiscard]] std::shared_ptr<const server_options> checked_options(server_options options);

/// What they mean for one connection.
[[nodiscard]] session_options session_options_of(const server_options& options);

}  // namespace kephas
