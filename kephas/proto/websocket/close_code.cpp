#include <kephas/proto/websocket/close_code.hpp>

namespace kephas {

bool is_valid_on_wire(close_code code) noexcept {
    const auto value = static_cast<unsigned>(code);
    if (value >= 3000) return value < 5000;
    return (value >= 1000 && value <= 1003) || (value >= 1007 && value <= 1014);
}

std::string_view fitting_reason(std::string_view reason) noexcept {
    constexpr std::size_t limit = 123;  // a control frame's 125 bytes less the code (RFC 6455 5.5)
    if (reason.size() <= limit) return reason;
    std::size_t size = limit;
    while (size > 0 && (static_cast<unsigned char>(reason[size]) & 0xC0U) == 0x80U) --size;
    return reason.substr(0, size);
}

}  // namespace kephas
