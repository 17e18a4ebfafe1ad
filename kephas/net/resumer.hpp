#pragma once

#include <asio/async_result.hpp>
#include <asio/awaitable.hpp>
#include <asio/use_awaitable.hpp>

#include <cstddef>
#include <new>
#include <utility>

namespace kephas {

/// One suspended coroutine that goes on when `resume()` is called, at once and on the calling thread, which must be
/// inside the coroutine's executor. Unlike `parked` it posts nothing and allocates nothing. Single-threaded.
class resumer {
public:
    resumer() = default;
    resumer(const resumer&) = delete;
    resumer& operator=(const resumer&) = delete;
    ~resumer() {
        if (operations_ != nullptr) operations_->destroy(storage_);
    }

    [[nodiscard]] bool suspended() const noexcept { return operations_ != nullptr; }

    /// Suspends the calling coroutine. One at a time. Cancellation: none; it waits for `resume`.
    [[nodiscard]] asio::awaitable<void> suspend() {
        auto token = asio::use_awaitable;
        return asio::async_initiate<decltype(token), void()>(
            [this](auto handler) {
                using handler_type = decltype(handler);
                static_assert(sizeof(handler_type) <= sizeof(storage_), "resumer::storage_ is too small");
                new (storage_) handler_type{std::move(handler)};
                operations_ = &operations_for<handler_type>;
            },
            token);
    }

    void resume() { std::exchange(operations_, nullptr)->invoke(storage_); }

private:
    struct operations {
        void (*invoke)(std::byte*);
        void (*destroy)(std::byte*) noexcept;
    };

    template <class Handler>
    static constexpr operations operations_for{
        [](std::byte* storage) {
            auto* stored = std::launder(reinterpret_cast<Handler*>(storage));
            Handler handler{std::move(*stored)};  // the coroutine may suspend here again before the call returns
            stored->~Handler();
            std::move(handler)();
        },
        [](std::byte* storage) noexcept { std::launder(reinterpret_cast<Handler*>(storage))->~Handler(); }};

    alignas(std::max_align_t) std::byte storage_[64];
    const operations* operations_ = nullptr;
};

}  // namespace kephas
