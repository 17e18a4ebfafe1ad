#pragma once

#include <asio/associated_cancellation_slot.hpp>
#include <asio/async_result.hpp>
#include <asio/awaitable.hpp>
#include <asio/cancellation_type.hpp>
#include <asio/error.hpp>
#include <asio/redirect_error.hpp>
#include <asio/use_awaitable.hpp>

#include <cassert>
#include <cstddef>
#include <new>
#include <system_error>
#include <type_traits>
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
        return asio::async_initiate<decltype(token), void()>([this](auto handler) { store(std::move(handler)); }, token);
    }
    /// The same, and `ec` receives what `resume` was given. Cancellation: all types, `operation_aborted`.
    [[nodiscard]] asio::awaitable<void> suspend(std::error_code& ec) {
        auto token = asio::redirect_error(asio::use_awaitable, ec);
        return asio::async_initiate<decltype(token), void(std::error_code)>(
            [this](auto handler) { hold(std::move(handler)); }, token);
    }
    /// The same for an operation of the caller's: `handler` is invoked with what `resume` was given.
    template <class Handler>
    void hold(Handler handler) {
        auto slot = asio::get_associated_cancellation_slot(handler);
        store(std::move(handler));
        if (!slot.is_connected()) return;
        slot.assign([this](asio::cancellation_type /*type*/) {
            if (suspended()) resume(asio::error::operation_aborted);
        });
    }

    void resume(std::error_code ec = {}) { std::exchange(operations_, nullptr)->invoke(storage_, ec); }

private:
    struct operations {
        void (*invoke)(std::byte*, std::error_code);
        void (*destroy)(std::byte*) noexcept;
    };

    template <class Handler>
    void store(Handler handler) {
        static_assert(sizeof(Handler) <= sizeof(storage_), "resumer::storage_ is too small");
        assert(!suspended());  // whoever was would never go on
        new (storage_) Handler{std::move(handler)};
        operations_ = &operations_for<Handler>;
    }

    template <class Handler>
    static constexpr operations operations_for{
        [](std::byte* storage, [[maybe_unused]] std::error_code ec) {
            auto* stored = std::launder(reinterpret_cast<Handler*>(storage));
            Handler handler{std::move(*stored)};  // the coroutine may suspend here again before the call returns
            stored->~Handler();
            if constexpr (std::is_invocable_v<Handler, std::error_code>) {
                if (auto slot = asio::get_associated_cancellation_slot(handler); slot.is_connected()) slot.clear();
                std::move(handler)(ec);
            } else {
                std::move(handler)();
            }
        },
        [](std::byte* storage) noexcept { std::launder(reinterpret_cast<Handler*>(storage))->~Handler(); }};

    alignas(std::max_align_t) std::byte storage_[64];
    const operations* operations_ = nullptr;
};

}  // namespace kephas
