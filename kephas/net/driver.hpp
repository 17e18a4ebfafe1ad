#pragma once

#include <coroutine>
#include <exception>
#include <utility>

namespace kephas {

/// A coroutine that its owner resumes, and that costs its frame and nothing else: what drives a connection for as long as
/// that is open. (An `asio::awaitable` takes four frames, 1.4 KB, before it waits for anything.) It runs at once, to its
/// first suspension. Nothing may leave it as an exception. Single-threaded.
class driver {
public:
    struct promise_type {
        driver get_return_object() noexcept { return driver{std::coroutine_handle<promise_type>::from_promise(*this)}; }
        std::suspend_never initial_suspend() noexcept { return {}; }
        std::suspend_always final_suspend() noexcept { return {}; }
        void return_void() noexcept {}
        void unhandled_exception() noexcept { std::terminate(); }
    };

    /// Suspends the driver that awaits it, and has `arrange` see to it that somebody resumes that, later.
    template <class Arrange>
    struct suspension {
        [[nodiscard]] bool await_ready() const noexcept { return false; }
        void await_suspend(std::coroutine_handle<> /*driver*/) const { arrange(); }
        void await_resume() const noexcept {}

        Arrange arrange;
    };
    template <class Arrange>
    suspension(Arrange) -> suspension<Arrange>;

    driver() noexcept = default;
    driver(driver&& other) noexcept : coroutine_{std::exchange(other.coroutine_, nullptr)} {}
    driver& operator=(driver&& other) noexcept {
        std::swap(coroutine_, other.coroutine_);
        return *this;
    }
    ~driver() {
        if (coroutine_) coroutine_.destroy();
    }

    /// Whether it has come to its end, or there is none. Its owner may destroy it then, but not while it runs.
    [[nodiscard]] bool done() const noexcept { return !coroutine_ || coroutine_.done(); }
    /// Goes on where it waits.
    void resume() const { coroutine_.resume(); }

private:
    explicit driver(std::coroutine_handle<promise_type> coroutine) noexcept : coroutine_{coroutine} {}

    std::coroutine_handle<promise_type> coroutine_;
};

}  // namespace kephas
