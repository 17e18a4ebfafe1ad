#pragma once

#include <kephas/base/bytes.hpp>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <utility>

namespace kephas {

/// A refcounted run of mutable bytes: a pointer into a block of memory that lives as long as any slice of it.
/// Copying a slice copies a pointer. The bytes are shared, so whoever writes to them must be their only user.
/// Concurrency: distinct slices of one block may be used from different threads.
class slice {
public:
    class local_count;

    slice() noexcept = default;
    slice(const slice& other) noexcept : block_{other.block_}, bytes_{other.bytes_} { retain(); }
    slice(slice&& other) noexcept
        : block_{std::exchange(other.block_, nullptr)}, bytes_{std::exchange(other.bytes_, {})} {}
    slice& operator=(const slice& other) noexcept { return *this = slice{other}; }
    slice& operator=(slice&& other) noexcept {
        block* const old = std::exchange(block_, std::exchange(other.block_, nullptr));  // also right if both are the same
        bytes_ = std::exchange(other.bytes_, {});
        release(old);
        return *this;
    }
    ~slice() { release(block_); }

    /// A new block of `size` uninitialised bytes. Throws `std::bad_alloc`.
    [[nodiscard]] static slice allocate(std::size_t size);
    /// A new block that holds a copy of `bytes`.
    [[nodiscard]] static slice copy(bytes_view bytes);
    /// A new block that holds a copy of `first` and then of `second`.
    [[nodiscard]] static slice join(bytes_view first, bytes_view second);

    [[nodiscard]] std::byte* data() const noexcept { return bytes_.data(); }
    [[nodiscard]] std::size_t size() const noexcept { return bytes_.size(); }
    [[nodiscard]] bool empty() const noexcept { return bytes_.empty(); }
    [[nodiscard]] bytes_view view() const noexcept { return bytes_; }
    [[nodiscard]] mutable_bytes bytes() const noexcept { return bytes_; }

    /// A slice of the same block. `offset + size` must not exceed `size()`.
    [[nodiscard]] slice sub(std::size_t offset, std::size_t size) const& noexcept {
        return slice{block_, bytes_.subspan(offset, size), retained{}};
    }
    [[nodiscard]] slice sub(std::size_t offset, std::size_t size) && noexcept {
        bytes_ = bytes_.subspan(offset, size);
        return std::move(*this);
    }

    /// Leaves out the first `size` bytes, of which there must be as many.
    void remove_prefix(std::size_t size) noexcept { bytes_ = bytes_.subspan(size); }

    /// Whether no other slice shares the block, so that it may be overwritten.
    [[nodiscard]] bool unique() const noexcept {
        return block_ != nullptr && block_->references.load(std::memory_order_acquire) == 1;
    }
    /// The size of the whole block that this slice keeps alive, which is what it really costs.
    [[nodiscard]] std::size_t block_size() const noexcept { return block_ == nullptr ? 0 : block_->size; }
    /// The whole block, whatever part of it this slice was.
    [[nodiscard]] slice whole() && noexcept;

    // How often the block is held for the account of one `memory_budget`: that counts it only for the first holder.
    enum class holder : std::uint8_t { first, another, stranger /* it is held for another account: nothing happened */ };
    [[nodiscard]] holder hold_for(std::uint32_t account) const noexcept;
    [[nodiscard]] bool held_for(std::uint32_t account) const noexcept;
    /// Whether that was the last holder.
    [[nodiscard]] bool let_go() const noexcept;

private:
    struct alignas(16) block {  // and so are the bytes behind it
        std::atomic<std::uint32_t> references{1};
        std::atomic<std::uint64_t> holders{0};  // the account above, how often below; an account without holders is void
        std::size_t size = 0;
    };
    struct retained {};
    /// References to one block that this thread has taken ahead or got back: while they last, counting is not atomic.
    struct spare_references {
        block* of;
        std::uint32_t count;
    };
    static inline constinit thread_local spare_references spare_{nullptr, 0};

    slice(block* owner, mutable_bytes bytes, retained /*unused*/) noexcept : block_{owner}, bytes_{bytes} { retain(); }
    slice(block* owner, mutable_bytes bytes) noexcept : block_{owner}, bytes_{bytes} {}

    void retain() const noexcept {
        if (block_ == nullptr) return;
        spare_references& spare = spare_;
        if (spare.of != block_) {
            block_->references.fetch_add(1, std::memory_order_relaxed);
        } else if (spare.count > 0) {
            --spare.count;
        } else {
            static constexpr std::uint32_t ahead = 64;
            block_->references.fetch_add(ahead, std::memory_order_relaxed);
            spare.count = ahead - 1;
        }
    }
    static void release(block* owner) noexcept {
        if (owner == nullptr) return;
        spare_references& spare = spare_;
        if (spare.of == owner) ++spare.count;  // it cannot end: what is spare keeps it
        else give_back(owner, 1);
    }
    static void give_back(block* owner, std::uint32_t count) noexcept {
        if (owner->references.fetch_sub(count, std::memory_order_acq_rel) == count) destroy(owner);
    }
    static void destroy(block* owner) noexcept;

    block* block_ = nullptr;
    mutable_bytes bytes_{};
};

/// While it lives, this thread counts its slices of one block without atomic operations: it takes references ahead and keeps
/// those that it gets back, so `unique()` may say no although nobody else has one. Other threads do as always.
/// The innermost one of a thread counts. Not to be kept while a coroutine is suspended.
class slice::local_count {
public:
    explicit local_count(const slice& of) noexcept : outer_{std::exchange(spare_, {of.block_, 0})} {}
    local_count(const local_count&) = delete;
    local_count& operator=(const local_count&) = delete;
    ~local_count() {
        const spare_references left = std::exchange(spare_, outer_);
        if (left.count > 0) give_back(left.of, left.count);
    }

private:
    spare_references outer_;
};

}  // namespace kephas
