#pragma once

#include <kephas/kephas.hpp>
#include <kephas/net/memory_stream.hpp>
#include <kephas/net/steady_timer.hpp>
#include <kephas/net/virtual_clock.hpp>

#include <support/memory_client.hpp>

#include <asio/co_spawn.hpp>
#include <asio/io_context.hpp>
#include <asio/this_coro.hpp>
#include <asio/use_awaitable.hpp>

#include <doctest/doctest.h>

#include <exception>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

template <>
struct doctest::StringMaker<std::vector<std::string>> {
    static String convert(const std::vector<std::string>& lines) {
        std::string all;
        for (const auto& line : lines) all += (all.empty() ? "" : " | ") + kephas::escaped(line);
        return all.c_str();
    }
};
template <class Rep, class Period>
struct doctest::StringMaker<std::chrono::duration<Rep, Period>> {
    static String convert(std::chrono::duration<Rep, Period> time) {
        return (std::to_string(std::chrono::duration<double>(time).count()) + " s").c_str();
    }
};

namespace kephas::test {

/// Without listeners and without noise.
[[nodiscard]] inline server_options virtual_options() {
    server_options options;
    options.listen = {};
    options.handler_concurrency = 1;
    options.log = logger{};
    return options;
}

/// What a handler does in virtual time.
inline asio::awaitable<void> pause_for(duration time) {
    steady_timer timer{co_await asio::this_coro::executor, time};
    co_await timer.async_wait(asio::use_awaitable);
}

/// A server, its clients and their time, all in the thread of the test: nothing happens unless the test says so, and
/// then always in the same way.
class virtual_world {
public:
    using wrapper = std::function<std::unique_ptr<stream>(std::unique_ptr<stream>, const asio::any_io_executor&)>;

    explicit virtual_world(router routes, server_options options = virtual_options())
        : server_{context_, std::move(routes), with_log(std::move(options))} {
        asio::co_spawn(context_, server_.serve(), [this](std::exception_ptr failure, drain_report report) {
            failure_ = failure;
            if (!failure) report_ = report;
        });
        settle();
    }
    virtual_world(const virtual_world&) = delete;
    virtual_world& operator=(const virtual_world&) = delete;
    ~virtual_world() {
        try {
            (void)stop();
        } catch (...) {  // the test has failed already
        }
    }

    /// A connection of which nothing has been sent yet. `wrap` may put something around the server's end.
    memory_client connect(std::size_t capacity = 64 * 1024, const wrapper& wrap = {}) {
        const memory_link link{capacity};
        server_.attach([&](const asio::any_io_executor& executor) {
            auto end = link.server_end(executor);
            return wrap ? wrap(std::move(end), executor) : std::move(end);
        });
        settle();
        return memory_client{link};
    }
    /// A connection that has done its opening handshake, whose answer has been taken. From then on `capacity` bytes fit
    /// between the server and a client that does not read.
    memory_client open(std::size_t capacity = 64 * 1024, const wrapper& wrap = {}) {
        memory_client client = connect(64 * 1024, wrap);
        client.send_handshake();
        settle();
        const events answer = client.take();
        if (answer.empty() || !answer.front().starts_with("HTTP/1.1 101 ")) throw std::runtime_error{"not upgraded"};
        client.link().to_client().set_capacity(capacity);
        return client;
    }

    /// Runs what is ready.
    void settle() { (void)clock_.settle(context_); }
    /// Lets time pass, stopping at each deadline.
    void run_for(duration time) { clock_.run_for(context_, time); }
    /// Lets time pass up to `when` after the beginning.
    void run_until(duration when) { clock_.run_until(context_, start_ + when); }
    /// Lets time pass, deadline after deadline, until `condition` holds; the time that this took, or nothing if it was not so
    /// within an hour.
    template <class Condition>
    std::optional<duration> time_until(Condition condition) {
        const time_point from = clock::now();
        auto next = clock_.settle(context_);
        while (!condition()) {
            if (!next || *next > from + std::chrono::hours{1}) return std::nullopt;
            clock_.run_until(context_, *next);
            next = clock_.settle(context_);
        }
        return clock::now() - from;
    }
    /// The time since the beginning.
    [[nodiscard]] duration elapsed() const { return clock::now() - start_; }

    /// Drains, and lets time pass until the server has ended.
    drain_report stop() {
        if (!ended()) {
            server_.stop();
            if (!time_until([this] { return ended(); })) throw std::runtime_error{"the server does not end"};
        }
        if (failure_) std::rethrow_exception(failure_);
        return *report_;
    }
    [[nodiscard]] bool ended() const noexcept { return report_.has_value() || failure_; }
    [[nodiscard]] const std::optional<drain_report>& report() const noexcept { return report_; }

    [[nodiscard]] kephas::server& operator*() noexcept { return server_; }
    [[nodiscard]] kephas::server* operator->() noexcept { return &server_; }
    [[nodiscard]] asio::io_context& context() noexcept { return context_; }
    [[nodiscard]] const std::vector<std::string>& log() const noexcept { return log_; }
    [[nodiscard]] bool logged(std::string_view text) const {
        for (const auto& line : log_) {
            if (line.find(text) != std::string::npos) return true;
        }
        return false;
    }

private:
    server_options with_log(server_options options) {
        options.log = logger{log_level::debug, [this](log_level, std::string_view line) { log_.emplace_back(line); }};
        return options;
    }

    virtual_clock clock_;
    time_point start_ = clock::now();
    std::vector<std::string> log_;
    asio::io_context context_;
    kephas::server server_;
    std::optional<drain_report> report_;
    std::exception_ptr failure_;
};

}  // namespace kephas::test
