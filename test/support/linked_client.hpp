#pragma once

#include <kephas/client/command_client.hpp>

#include <support/virtual_world.hpp>

#include <deque>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace kephas::test {

/// A server in virtual time and the wires to it, of which the test has the ends of both sides in hand.
class client_world {
public:
    explicit client_world(router routes = {}, server_options options = virtual_options())
        : world_{std::move(routes), std::move(options)} {}

    /// Options of a client whose connections are in memory and whose delays are as long as they can be.
    [[nodiscard]] command_client_options options() {
        command_client_options options;
        options.random = [] { return ~std::uint64_t{0}; };
        options.transport = [this](address where, time_point deadline) { return connect(std::move(where), deadline); };
        options.log = logger{log_level::debug, [this](log_level, std::string_view line) { log.emplace_back(line); }};
        return options;
    }
    [[nodiscard]] asio::any_io_executor executor() { return world_.context().get_executor(); }

    /// Runs it beside the test; what it throws is kept.
    template <class Body>
    void go(Body body) {
        auto kept = std::make_shared<Body>(std::move(body));
        asio::co_spawn(world_.context(), (*kept)(), [this, kept](const std::exception_ptr& failure) {
            ++ended;
            if (failure) failures.push_back(failure);
        });
        settle();
    }
    /// The code with which the first of them failed.
    [[nodiscard]] std::error_code failure() const {
        if (failures.empty()) return {};
        try {
            std::rethrow_exception(failures.front());
        } catch (const std::system_error& failed) {
            return failed.code();
        } catch (...) {
            return std::make_error_code(std::errc::io_error);
        }
    }

    void settle() { world_.settle(); }
    void run_for(duration time) { world_.run_for(time); }
    [[nodiscard]] virtual_world& world() noexcept { return world_; }
    [[nodiscard]] const memory_link& link() const { return links.back(); }

    std::vector<memory_link> links;           ///< Of all connections.
    std::vector<duration> attempts;           ///< When they were made.
    std::deque<std::error_code> refusals;     ///< What becomes of the next attempts: an error, or none.
    duration latency{};                       ///< How long an attempt takes.
    bool served = true;                       ///< Whether our server is at the other end, or nobody.
    std::size_t capacity = 64 * 1024;
    std::vector<std::string> log;
    std::vector<std::exception_ptr> failures;
    int ended = 0;

private:
    asio::awaitable<std::unique_ptr<stream>> connect(address /*where*/, time_point /*deadline*/) {
        attempts.push_back(world_.elapsed());
        if (latency > duration::zero()) co_await pause_for(latency);
        if (!refusals.empty()) {
            const std::error_code refused = refusals.front();
            refusals.pop_front();
            if (refused) throw error{refused};
        }
        const memory_link link{capacity};
        links.push_back(link);
        if (served) world_->attach([&](const asio::any_io_executor& executor) { return link.server_end(executor); });
        co_return link.client_end(co_await asio::this_coro::executor);
    }

    virtual_world world_;
};

/// The states that a client goes through, as text.
class state_recorder {
public:
    void watch(command_client& client) {
        client.on_state([this](const link_change& change) {
            std::string line{to_string(change.now)};
            if (change.delay > duration::zero()) {
                line += " in " + std::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(change.delay).count());
            }
            if (change.now == link_state::closed) line += " " + std::to_string(static_cast<unsigned>(change.why.code));
            all.push_back(std::move(line));
        });
    }
    [[nodiscard]] std::vector<std::string> take() { return std::exchange(all, {}); }

    std::vector<std::string> all;
};

}  // namespace kephas::test
