#include <kephas/proto/command/goodbye.hpp>

#include <kephas/server/refusal_answers.hpp>

#include <algorithm>
#include <array>

namespace kephas {

namespace {

close_code code_of(http::status_code status) noexcept {
    const bool later = status == http::status_code::too_many_requests || status == http::status_code::service_unavailable;
    if (later) return close_code::try_again_later;
    return static_cast<unsigned>(status) >= 500 ? close_code::internal_error : close_code::policy_violation;
}

std::string_view first_line(std::string_view text) noexcept { return text.substr(0, text.find_first_of("\r\n")); }

}  // namespace

std::string refusal_goodbye(const http::response& refusal) {
    std::array<std::byte, max_goodbye> message;
    std::string_view reason = first_line(refusal.body);
    if (reason.empty()) reason = http::reason_phrase(refusal.status);
    const std::size_t size = encode_goodbye(message, code_of(refusal.status), reason);
    return std::string{as_text(bytes_view{message}.first(size))};
}

}  // namespace kephas
