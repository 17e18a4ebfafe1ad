// Broadcasts, from handlers on every thread: in order with everything else, whole, and accounted for.
#include <kephas/net/memory_stream.hpp>

#include <support/memory_client.hpp>
#include <support/running_server.hpp>
#include <support/test_client.hpp>

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <new>
#include <span>
#include <string>
#include <utility>
#include <vector>

using namespace kephas;
using namespace kephas::test;

using reply = asio::awaitable<std::optional<payload>>;

namespace {

constexpr command_id all_id{1}, framed_id{2}, echo_id{3}, close_others_id{4}, before_id{10}, after_id{11};

constexpr std::uint32_t number(command_id id) { return static_cast<std::uint32_t>(id); }

/// `all` sends its payload to everybody, and answers how many outboxes took it; `framed` sends each a message before and
/// one after that; `close_others` closes all but its sender after one broadcast and before the next.
router broadcasting(dispatch policy) {
    router routes;
    routes.on(all_id, policy, [](request req) -> reply {
        const kephas::clients everybody = req.client().clients();
        const broadcast_report report = co_await everybody.broadcast(all_id, payload{req.share()});
        co_return payload{std::to_string(report.queued) + " queued"};
    });
    routes.on(framed_id, policy, [](request req) -> reply {
        const kephas::clients everybody = req.client().clients();
        for (const client& each : everybody.all()) CHECK(each.try_send(before_id, "before") == send_status::queued);
        co_await everybody.broadcast(all_id, payload{req.share()});
        for (const client& each : everybody.all()) CHECK(each.try_send(after_id, "after") == send_status::queued);
        co_return std::nullopt;
    });
    routes.on(echo_id, policy, [](request req) -> reply { co_return payload{req.share()}; });
    routes.on(close_others_id, policy, [](request req) -> reply {
        const kephas::clients everybody = req.client().clients();
        co_await everybody.broadcast(all_id, "before");
        for (const client& each : everybody.all()) {
            if (each != req.client()) each.close(close_code{4000}, "over");
        }
        const broadcast_report report = co_await everybody.broadcast(all_id, "after");
        co_return payload{std::to_string(report.queued) + " queued, " + std::to_string(report.dropped) + " dropped"};
    });
    return routes;
}

/// A stream that counts how often it is written to, and throws then as long as it is told to.
class counted_stream final : public stream {
public:
    counted_stream(std::unique_ptr<stream> inner, std::atomic<int>& writes, const std::atomic<bool>* throws)
        : inner_{std::move(inner)}, writes_{writes}, throws_{throws} {}

    std::size_t read_some(read_buffer& buffer, std::error_code& ec) override { return inner_->read_some(buffer, ec); }
    void wait_readable(read_waiter& who) override { inner_->wait_readable(who); }
    std::size_t write_some(std::span<const bytes_view> buffers, std::error_code& ec) override {
        ++writes_;
        if (throws_ != nullptr && *throws_) throw std::bad_alloc{};
        return inner_->write_some(buffers, ec);
    }
    void wait_writable(std::function<void(std::error_code)> ready) override { inner_->wait_writable(std::move(ready)); }
    void shutdown_send() noexcept override { inner_->shutdown_send(); }
    void close() noexcept override { inner_->close(); }
    void abort() noexcept override { inner_->abort(); }
    bool peer_gone() const noexcept override { return inner_->peer_gone(); }
    std::string remote_address() const override { return inner_->remote_address(); }

private:
    std::unique_ptr<stream> inner_;
    std::atomic<int>& writes_;
    const std::atomic<bool>* throws_;
};

/// A server with one thread for its connections, and clients in memory whose windows the test opens and closes.
struct hall {
    explicit hall(dispatch policy) : server{broadcasting(policy), unlimited()} {}

    static server_options unlimited() {
        server_options options = quiet_options();
        options.rate_limit = no_rate_limit();
        options.close_timeout = options.linger_timeout = std::chrono::milliseconds{20};  // these clients answer no close frame
        return options;
    }
    memory_client enter(const std::atomic<bool>* throws = nullptr) {
        const memory_link link;
        server->attach([&](const asio::any_io_executor& executor) {
            return std::make_unique<counted_stream>(link.server_end(executor), writes, throws);
        });
        memory_client client{link};
        const std::size_t before = server->clients().size();
        client.send_handshake();
        REQUIRE(eventually([&] { return !client.take().empty(); }));
        REQUIRE(eventually([&] { return server->clients().size() > before; }));
        return client;
    }
    /// What comes next, as many events as are expected.
    static events next(memory_client& client, std::size_t count) {
        events seen;
        (void)eventually([&] {
            for (auto& each : client.take()) seen.push_back(std::move(each));
            return seen.size() >= count;
        });
        return seen;
    }
    void check_sums(std::uint64_t messages) {
        const auto out = server->stats().outbound;
        const auto& c = out.counters;
        CHECK(c.queued_messages == messages);
        CHECK(c.queued_messages == c.written_messages + c.dropped_messages + c.discarded_messages + out.still_queued_messages);
        CHECK(c.queued_bytes == c.written_bytes + c.dropped_bytes + c.discarded_bytes + out.still_queued_bytes);
    }

    std::atomic<int> writes{0};
    running_server server;
};

std::string line(command_id id, std::string_view body) { return "binary " + test_client::command(number(id), body); }

}  // namespace

TEST_CASE("a broadcast comes between what its handler sent before and after it, from every thread") {
    for (const dispatch policy : {dispatch::on_strand, dispatch::serial, dispatch::pool}) {
        for (const unsigned threads : {1U, 3U}) {
            CAPTURE(threads);
            server_options options = quiet_options();
            options.io_threads = threads;
            running_server server{broadcasting(policy), options};
            std::vector<test_client> peers;
            for (int i = 0; i < 6; ++i) peers.push_back(test_client::open(server.port()));
            REQUIRE(eventually([&] { return server->clients().size() == 6; }));
            for (int round = 0; round < 20; ++round) {
                const std::string text = std::to_string(round);
                auto& sender = peers[static_cast<std::size_t>(round) % 6];
                sender.send_command(number(framed_id), text);
                for (auto& peer : peers) {
                    CHECK(peer.read_command(number(before_id)) == "before");
                    CHECK(peer.read_command(number(all_id)) == text);
                    CHECK(peer.read_command(number(after_id)) == "after");
                }
                sender.send_command(number(all_id), text);
                for (auto& peer : peers) CHECK(peer.read_command(number(all_id)) == text);
                CHECK(sender.read_command(number(all_id)) == "6 queued");
            }
        }
    }
}

TEST_CASE("broadcasts and replies of one turn arrive in the order in which they were made, also at their sender") {
    hall all{dispatch::on_strand};
    memory_client sender = all.enter();
    memory_client other = all.enter();
    for (int round = 0; round < 20; ++round) {
        const auto frame = [](command_id id, std::string_view body) {
            return test_client::frame(2, test_client::command(number(id), body));
        };
        sender.send_raw(frame(echo_id, "1") + frame(all_id, "2") + frame(echo_id, "3") + frame(framed_id, "4") +
                        frame(all_id, "5") + frame(echo_id, "6"));
        CHECK(hall::next(sender, 10) == events{line(echo_id, "1"), line(all_id, "2"), line(all_id, "2 queued"), line(echo_id, "3"),
                                               line(before_id, "before"), line(all_id, "4"), line(after_id, "after"),
                                               line(all_id, "5"), line(all_id, "2 queued"), line(echo_id, "6")});
        CHECK(hall::next(other, 5) == events{line(all_id, "2"), line(before_id, "before"), line(all_id, "4"),
                                             line(after_id, "after"), line(all_id, "5")});
    }
    CHECK(eventually([&] { return all.server->stats().outbound.still_queued_messages == 0; }));
    all.check_sums(20 * 15);
}

TEST_CASE("what a full connection leaves of broadcasts follows whole and in order, however little it takes at once") {
    for (const dispatch policy : {dispatch::on_strand, dispatch::serial}) {
        for (const std::size_t room : {1U, 2U, 6U, 7U, 8U, 13U, 100U}) {
            CAPTURE(room);
            hall all{policy};
            memory_client sender = all.enter();
            memory_client slow = all.enter();
            slow.link().to_client().set_capacity(room);
            events expected;
            for (int i = 0; i < 20; ++i) {
                const std::string text = std::to_string(i);
                sender.send_command(number(all_id), text);
                CHECK(hall::next(sender, 2) == events{line(all_id, text), line(all_id, "2 queued")});
                expected.push_back(line(all_id, text));
                all.check_sums(static_cast<std::uint64_t>(i + 1) * 3);
            }
            CHECK(hall::next(slow, 20) == expected);
            CHECK(eventually([&] { return all.server->stats().outbound.still_queued_messages == 0; }));
            all.check_sums(60);
            slow.link().to_client().set_capacity(1024);  // for its close frame
        }
    }
}

TEST_CASE("a client that is closed between two broadcasts gets the first and its close frame, and counts as dropped") {
    for (const dispatch policy : {dispatch::on_strand, dispatch::serial, dispatch::pool}) {
        hall all{policy};
        memory_client sender = all.enter();
        memory_client open = all.enter();
        memory_client full = all.enter();
        full.link().to_client().set_capacity(3);
        sender.send_command(number(close_others_id), "");
        CHECK(hall::next(sender, 3) ==
              events{line(all_id, "before"), line(all_id, "after"), line(close_others_id, "1 queued, 2 dropped")});
        for (memory_client* each : {&open, &full}) {
            events first = hall::next(*each, 2);
            first.resize(2);  // the end of the stream may have come, too
            CHECK(first == events{line(all_id, "before"), "close 4000 over"});
        }
        CHECK(all.server->stats().broadcast_dropped == 2);
    }
}

TEST_CASE("a broadcast to a client whose connection is lost reaches the others, and that one has ended") {
    for (const dispatch policy : {dispatch::on_strand, dispatch::serial, dispatch::pool}) {
        hall all{policy};
        memory_client sender = all.enter();
        memory_client lost = all.enter();
        memory_client other = all.enter();
        lost.link().to_client().reset();  // seen by nothing but a write
        for (const std::string text : {"1", "2", "3"}) {
            sender.send_command(number(all_id), text);
            CHECK(hall::next(sender, 2).front() == line(all_id, text));
            CHECK(hall::next(other, 1) == events{line(all_id, text)});
        }
        lost.reset();
        CHECK(eventually([&] { return all.server->clients().size() == 2; }));
        CHECK(eventually([&] {
            const auto& c = all.server->stats().outbound.counters;
            return c.discarded_messages >= 1 && c.queued_messages == c.written_messages + c.discarded_messages;
        }));
    }
}

TEST_CASE("a stream that throws in a broadcast ends its own connection, and the others get all") {
    for (const dispatch policy : {dispatch::on_strand, dispatch::serial, dispatch::pool}) {
        hall all{policy};
        memory_client sender = all.enter();
        std::atomic<bool> throws{false};
        memory_client broken = all.enter(&throws);
        memory_client other = all.enter();
        throws = true;
        for (const std::string text : {"1", "2", "3"}) {
            sender.send_command(number(all_id), text);
            CHECK(hall::next(sender, 2).front() == line(all_id, text));
            CHECK(hall::next(other, 1) == events{line(all_id, text)});
        }
        CHECK(hall::next(broken, 1) == events{"reset"});
        CHECK(eventually([&] { return all.server->clients().size() == 2; }));
        all.server.stop();  // before `throws` goes
    }
}

TEST_CASE("a broadcast leaves with one write to each client, and those of one turn with two") {
    hall all{dispatch::on_strand};
    memory_client sender = all.enter();
    memory_client other = all.enter();
    const auto quiet = [&] { return all.server->stats().outbound.still_queued_messages == 0; };
    int before = all.writes;
    sender.send_command(number(all_id), "one");
    CHECK(hall::next(sender, 2).size() == 2);
    CHECK(hall::next(other, 1).size() == 1);
    REQUIRE(eventually(quiet));
    CHECK(all.writes - before == 2);  // the sender gets it with its reply

    std::string burst;
    for (int i = 0; i < 50; ++i) burst += test_client::frame(2, test_client::command(number(all_id), "many"));
    before = all.writes;
    sender.send_raw(burst);
    CHECK(hall::next(sender, 100).size() == 100);
    CHECK(hall::next(other, 50).size() == 50);
    REQUIRE(eventually(quiet));
    CHECK(all.writes - before <= 3);
}
