#include <kephas/base/payload.hpp>

namespace kephas {

payload payload::copy(bytes_view bytes) {
    payload result;
    if (bytes.size() > inline_capacity) {
        result.body_ = slice::copy(bytes);
        return result;
    }
    auto& small = std::get<inline_bytes>(result.body_);
    small.size = static_cast<std::uint8_t>(bytes.size());
    if (!bytes.empty()) std::memcpy(small.bytes.data(), bytes.data(), bytes.size());
    return result;
}

std::size_t payload::allocated() const noexcept {
    switch (body_.index()) {
        case 0: return 0;
        case 1: {
            static const std::size_t inside_the_string = std::string{}.capacity();
            const std::size_t capacity = std::get_if<1>(&body_)->capacity();
            return capacity > inside_the_string ? capacity + 1 : 0;
        }
        case 2: return std::get_if<2>(&body_)->capacity();
        default: return std::get_if<3>(&body_)->block_size();
    }
}

slice payload::share() const {
    if (const auto* shared = std::get_if<slice>(&body_)) return *shared;
    return slice::copy(view());
}

}  // namespace kephas
