// Clients that always have something to say do not keep the others from being heard.
#include "round_trips.hpp"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <deque>
#include <future>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

using namespace kephas;
using namespace kephas::test;

namespace {

constexpr std::uint32_t quiet_command = 0x0100;
constexpr std::uint32_t busy_command = 0x0200;  // and those that follow, one for each busy client

/// A client whose socket is always full of messages.
class busy_client {
public:
    busy_client(std::uint16_t port, std::uint32_t command, std::size_t size)
        : client_{test_client::open(port)},
          frame_{test_client::frame(2, test_client::command(command, std::string(size, 'b')))} {
        while (burst_.size() < 64 * 1024) burst_ += frame_;
    }
    /// Sends until the kernel takes no more, and goes on there the next time.
    void fill() {
        for (;;) {
            const std::string_view rest = std::string_view{burst_}.substr(sent_);
            const ssize_t sent = ::send(client_.native_handle(), rest.data(), rest.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
            if (sent < 0 && errno == EAGAIN) return;
            if (sent < 0) throw std::system_error{errno, std::system_category(), "send"};
            sent_ = (sent_ + static_cast<std::size_t>(sent)) % burst_.size();
        }
    }
    [[nodiscard]] std::size_t frame_size() const noexcept { return frame_.size(); }

private:
    test_client client_;
    std::string frame_;
    std::string burst_;  // whole frames
    std::size_t sent_ = 0;
};

struct most_served {
    // between two turns of the quiet one: of one busy client
    std::size_t messages = 0, bytes = 0;
    // of all connections together, as they were read
    std::uint64_t read = 0;
};

/// Everything happens on the one thread of the shard: the handler of the quiet client fills the sockets of the busy ones and
/// sends the quiet client's next message, which is readable from then on, as is what the busy ones have sent.
most_served between_turns(std::size_t busy, std::size_t size) {
    constexpr int turns = 50;
    std::deque<busy_client> crowd;
    std::vector<std::size_t> served(busy);
    std::optional<test_client> quiet;
    const std::string next = test_client::frame(2, test_client::command(quiet_command, "quiet"));
    most_served most;
    std::ptrdiff_t idle = 0;  // turns of the quiet client before which a busy one was not served at all
    std::uint64_t read_before = 0;
    std::optional<running_server> server;  // before the first message comes
    int turn = 0;
    std::promise<void> done;

    router routes;
    for (std::size_t i = 0; i < busy; ++i) {
        routes.on(command_id{busy_command + static_cast<std::uint32_t>(i)}, dispatch::on_strand,
                  [&served, i](request) -> asio::awaitable<std::optional<payload>> {
                      ++served[i];
                      co_return std::nullopt;
                  });
    }
    routes.on(command_id{quiet_command}, dispatch::on_strand, [&](request) -> asio::awaitable<std::optional<payload>> {
        if (turn > 1) {  // in the first, what was sent before the sockets were full
            for (const std::size_t count : served) {
                most.messages = std::max(most.messages, count);
                most.bytes = std::max(most.bytes, count * crowd.front().frame_size());
            }
            idle += std::ranges::count(served, std::size_t{0});
        }
        const std::uint64_t read = (*server)->stats().bytes_received;
        if (turn > 1) most.read = std::max(most.read, read - read_before);
        read_before = read;
        std::ranges::fill(served, std::size_t{0});
        if (++turn > turns) {
            done.set_value();
            co_return std::nullopt;
        }
        for (busy_client& each : crowd) each.fill();
        quiet->send_raw(next);
        co_return std::nullopt;
    });
    server.emplace(std::move(routes), unlimited_options());
    for (std::size_t i = 0; i < busy; ++i) crowd.emplace_back((*server)->port(), busy_command + static_cast<std::uint32_t>(i), size);
    quiet.emplace(test_client::open((*server)->port()));
    quiet->send_raw(next);
    REQUIRE(done.get_future().wait_for(std::chrono::seconds{30}) == std::future_status::ready);
    if (size <= 64 * 1024) CHECK(idle <= static_cast<std::ptrdiff_t>(busy) * turns / 2);  // or nobody was busy
    crowd.clear();  // the handlers have nothing more to do with them; the server need not wait for their goodbyes
    quiet.reset();
    fmt::print("{} busy clients with messages of {} bytes: at most {} messages, {} bytes of each between two turns of a quiet one; "
               "none of one {} times of {}; at most {} bytes read\n",
               busy, size, most.messages, most.bytes, idle, turns * busy, most.read);
    return most;
}

}  // namespace

// A turn is 64 messages or 64 KiB, and the rest of the message that exceeds it. When the quiet client's handler ends, its next
// message is there already. A round of the poller tells those first whose sockets have become readable, the quiet one among
// them, and then those that had input left from their last turn, each once.
TEST_CASE("between two turns of a quiet client each busy one has one") {
    for (const std::size_t busy : {1U, 8U}) {
        CHECK(between_turns(busy, 32).messages <= 64);
        CHECK(between_turns(busy, 8 * 1024).bytes <= 64 * 1024 + 8 * 1024);
    }
}

// The rest of a large message is read straight to where it will live, as much as there is room for: as much again as has
// arrived, half of the message at most. That is more than 64 KiB, but only the kernel's copy, and no handler runs meanwhile.
TEST_CASE("between two turns of a quiet client no more than half of a message of 1 MiB is read from each busy one") {
    for (const std::size_t busy : {1U, 8U}) CHECK(between_turns(busy, 1024 * 1024).read <= busy * (512 * 1024 + 64));
}
