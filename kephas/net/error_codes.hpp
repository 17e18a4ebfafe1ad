#pragma once

#include <asio/error.hpp>

#include <system_error>

namespace kephas {

/// Asio 1.22 has a category of its own for values of `errno`, whose codes do not equal `std::errc`: here they become the system's.
/// `operation_aborted` and the codes of Asio's other categories stay what they are.
[[nodiscard]] inline std::error_code unified(const std::error_code& ec) noexcept {
    const bool of_system = ec.category() == asio::error::get_system_category() && ec != asio::error::operation_aborted;
    return of_system ? std::error_code{ec.value(), std::system_category()} : ec;
}

}  // namespace kephas
