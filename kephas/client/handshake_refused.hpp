#pragma once

#include <kephas/base/clock.hpp>
#include <kephas/base/error.hpp>

#include <optional>
#include <string>
#include <system_error>

namespace kephas {

/// HTTP statuses as error codes: 401 and 403 are `condition::unauthorized`, 429 and 503 `overloaded`, 408 and 504 `timed_out`.
[[nodiscard]] const std::error_category& http_status_category() noexcept;

/// The server answered the opening handshake with a status other than 101.
class handshake_refused : public error {
public:
    handshake_refused(int status, std::optional<duration> retry_after, const std::string& what)
        : error{std::error_code{status, http_status_category()}, what}, retry_after_{retry_after} {}

    [[nodiscard]] int status() const noexcept { return code().value(); }
    /// When the server wants to be asked again, if it says so.
    [[nodiscard]] std::optional<duration> retry_after() const noexcept { return retry_after_; }

private:
    std::optional<duration> retry_after_;
};

}  // namespace kephas
