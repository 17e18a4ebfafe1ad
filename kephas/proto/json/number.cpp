#include <kephas/proto/json/number.hpp>

#include <algorithm>
#include <charconv>
#include <system_error>

namespace kephas {

namespace {

// Whether a number outside the range of double is outside at the upper end: tells by the power of ten of its first
// digit that is not zero, which is then beyond +-300.
bool is_huge(std::string_view text) noexcept {
    if (text.starts_with('-')) text.remove_prefix(1);
    const auto exponent_at = text.find_first_of("eE");
    const std::string_view digits = text.substr(0, exponent_at);
    const auto point = std::min(digits.find('.'), digits.size());
    const auto first = digits.find_first_of("123456789");
    if (first == std::string_view::npos) return false;
    const auto power = static_cast<long long>(point) - static_cast<long long>(first);

    long long exponent = 0;
    if (exponent_at != std::string_view::npos) {
        std::string_view written = text.substr(exponent_at + 1);
        if (written.starts_with('+')) written.remove_prefix(1);
        const auto [end, failure] = std::from_chars(written.data(), written.data() + written.size(), exponent);
        if (failure != std::errc{}) return !written.starts_with('-');
    }
    return exponent > -power;
}

}  // namespace

std::optional<double> to_double(std::string_view text) noexcept {
    double value = 0;
    const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (failure == std::errc{}) return value;
    if (is_huge(text)) return std::nullopt;
    return text.starts_with('-') ? -0.0 : 0.0;
}

}  // namespace kephas
