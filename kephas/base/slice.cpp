#include <kephas/base/slice.hpp>

#include <new>

namespace kephas {

slice slice::allocate(std::size_t size) {
    void* memory = ::operator new(sizeof(block) + size);
    auto* owner = new (memory) block{};
    owner->size = size;
    return slice{owner, mutable_bytes{static_cast<std::byte*>(memory) + sizeof(block), size}};
}

slice slice::copy(bytes_view bytes) {
    slice result = allocate(bytes.size());
    if (!bytes.empty()) std::memcpy(result.data(), bytes.data(), bytes.size());
    return result;
}

slice slice::whole() && noexcept {
    if (block_ != nullptr) bytes_ = {reinterpret_cast<std::byte*>(block_) + sizeof(block), block_->size};
    return std::move(*this);
}

void slice::destroy(block* owner) noexcept {
    owner->~block();
    ::operator delete(owner);
}

}  // namespace kephas
