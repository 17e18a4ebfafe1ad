// Handles to clients: values that any thread keeps and uses, during the connection and after it. DESIGN.md 4a "Handles".
#include <support/gate.hpp>
#include <support/running_server.hpp>
#include <support/settled.hpp>
#include <support/test_client.hpp>

#include <asio/bind_cancellation_slot.hpp>
#include <asio/cancellation_signal.hpp>
#include <asio/co_spawn.hpp>
#include <asio/error.hpp>
#include <asio/io_context.hpp>
#include <asio/post.hpp>
#include <asio/use_future.hpp>

#include <doctest/doctest.h>

#include <cctype>
#include <future>
#include <memory>
#include <unordered_set>

using namespace kephas;
using namespace kephas::test;
using namespace std::chrono_literals;

namespace {

using reply = asio::awaitable<std::optional<payload>>;

/// A thread with a context of its own, on which a test awaits what it needs.
class caller {
public:
    ~caller() {
        work_.reset();
        context_.stop();
        thread_.join();
    }
    caller() = default;
    caller(const caller&) = delete;
    caller& operator=(const caller&) = delete;

    template <class T>
    [[nodiscard]] settled_future<T> start(asio::awaitable<T> work) {
        return start_on(context_, std::move(work));
    }
    template <class T>
    T await(asio::awaitable<T> work) {
        auto outcome = start(std::move(work));
        if (outcome.wait_for(10s) != std::future_status::ready) throw std::runtime_error{"it never completes"};
        return outcome.get();
    }
    [[nodiscard]] asio::io_context& context() noexcept { return context_; }

private:
    asio::io_context context_;
    asio::executor_work_guard<asio::io_context::executor_type> work_ = asio::make_work_guard(context_);
    std::thread thread_{[this] { context_.run(); }};
};

bool is_ready(const auto& outcome, std::chrono::milliseconds patience = 0ms) {
    return outcome.wait_for(patience) == std::future_status::ready;
}

std::error_code failure_of(auto&& function) {
    try {
        function();
    } catch (const std::system_error& failure) {
        return failure.code();
    }
    return {};
}

/// A server whose connected clients can be looked at.
struct lobby {
    explicit lobby(server_options options = quiet_options()) : server{make_routes(), std::move(options)} {}

    router make_routes() {
        router routes;
        routes.on_connect([this](client who) -> asio::awaitable<void> {
            const std::lock_guard lock{mutex};
            handles.push_back(who);
            changed.notify_all();
            co_return;
        });
        routes.on_disconnect([this](client, close_info why) -> asio::awaitable<void> {
            const std::lock_guard lock{mutex};
            ends.push_back(why);
            changed.notify_all();
            co_return;
        });
        routes.on(command_id{1}, [](request req) -> reply { co_return payload{req.share()}; });
        return routes;
    }

    /// The handle of the client that is connected as number `index`.
    client handle(std::size_t index) {
        std::unique_lock lock{mutex};
        if (!changed.wait_for(lock, 10s, [&] { return handles.size() > index; })) throw std::runtime_error{"nobody came"};
        return handles[index];
    }
    close_info end(std::size_t index) {
        std::unique_lock lock{mutex};
        if (!changed.wait_for(lock, 10s, [&] { return ends.size() > index; })) throw std::runtime_error{"nobody left"};
        return ends[index];
    }

    std::mutex mutex;
    std::condition_variable changed;
    std::vector<client> handles;
    std::vector<close_info> ends;
    running_server server;
};

test_client slow_reader(std::uint16_t port) {
    test_client client{port, 4096};
    if (!client.handshake().starts_with("HTTP/1.1 101")) throw std::runtime_error{"not upgraded"};
    return client;
}

const std::string bulk(200 * 1024, 'b');
/// More than any kernel takes for a client that does not read: while that is so, its outbox is not empty.
const std::string boulder(48 * 1024 * 1024, 'B');

server_options small_outbox() {
    server_options options = quiet_options();
    options.outbox.max_messages = 4;
    options.outbox.max_bytes = 2 * boulder.size();
    return options;
}

/// Queues messages until no more is taken: the one that does not fit the kernel, and those that fill the outbox
/// behind it. Returns how many those are.
std::size_t fill(lobby& all, const client& who) {
    const auto written = [&] { return all.server->stats().outbound.counters.written_bytes; };
    const auto before = written();
    REQUIRE(who.try_send(command_id{9}, payload{boulder}) == send_status::queued);
    REQUIRE(eventually([&] { return written() > before; }));  // what has begun is never dropped
    std::size_t behind = 0;
    while (who.try_send(command_id{9}, payload{bulk}) == send_status::queued) ++behind;
    return behind;
}

/// What `fill` has queued: all of it, or fewer of those behind the large one.
void read_filling(test_client& peer, std::size_t behind) {
    CHECK(peer.read_command(9) == boulder);
    for (std::size_t i = 0; i < behind; ++i) CHECK(peer.read_command(9) == bulk);
}

}  // namespace

TEST_CASE("a handle knows who its client is") {
    lobby all;
    auto first = test_client::open(all.server.port(), "/ws?room=a%20b&x=1", "X-One: 1\r\n");
    const client one = all.handle(0);
    auto second = test_client::open(all.server.port());
    const client two = all.handle(1);

    const std::string id = one.id().to_string();
    REQUIRE(id.size() == 36);  // RFC 4122: version 4, variant 1
    CHECK(id[14] == '4');
    CHECK(std::string_view{"89ab"}.find(id[19]) != std::string_view::npos);
    for (const std::size_t dash : {8U, 13U, 18U, 23U}) CHECK(id[dash] == '-');
    CHECK(one.id() != two.id());

    CHECK(one.is_alive());
    CHECK(one.remote_address().starts_with("127.0.0.1:"));
    CHECK(one.remote_address() != two.remote_address());
    CHECK(one.identity().empty());
    CHECK(one.query("room") == "a b");
    CHECK_FALSE(one.query("nothing"));
    CHECK_FALSE(one.close_info());

    const client copy = one;
    CHECK(copy == one);
    CHECK_FALSE(copy == two);
    CHECK(std::hash<client>{}(copy) == std::hash<client>{}(one));
    const std::unordered_set<client> set{one, two, copy};
    CHECK(set.size() == 2);
    CHECK(set.contains(two));
}

TEST_CASE("authorize gives a client its identity") {
    router routes;
    journal seen;
    routes.authorize([](http::request request) -> asio::awaitable<authorization> {
        co_return authorization::accept(request.query("user").value_or("nobody"));
    });
    routes.on(command_id{1}, [&](request req) -> reply {
        seen.add(req.client().identity());
        co_return payload{std::string{req.client().identity()}};
    });
    running_server server{std::move(routes)};
    auto client = test_client::open(server.port(), "/ws?user=ada");
    client.send_command(1, "");
    CHECK(client.read_command(1) == "ada");
}

TEST_CASE("an attachment is typed, and stays after the close") {
    struct player {
        int score = 0;
    };
    lobby all;
    auto peer = test_client::open(all.server.port());
    const client who = all.handle(0);
    CHECK(who.attachment<player>() == nullptr);
    const auto made = who.emplace_attachment<player>();
    made->score = 7;
    REQUIRE(who.attachment<player>() == made);
    CHECK(who.attachment<int>() == nullptr);
    who.attach(std::make_shared<int>(3));
    CHECK(who.attachment<player>() == nullptr);
    CHECK(*who.attachment<int>() == 3);
    peer.close();
    all.end(0);
    CHECK(*who.attachment<int>() == 3);
    who.emplace_attachment<player>();
    CHECK(who.attachment<player>() != nullptr);
}

TEST_CASE("send and try_send reach the client in order, from a thread that is none of the server's") {
    caller elsewhere;
    lobby all;
    auto peer = test_client::open(all.server.port());
    const client who = all.handle(0);
    CHECK(who.try_send(command_id{5}, "one") == send_status::queued);
    elsewhere.await(who.send(command_id{5}, "two"));
    CHECK(who.try_send_text("three") == send_status::queued);
    elsewhere.await(who.send_text("four"));
    CHECK(peer.read_command(5) == "one");
    CHECK(peer.read_command(5) == "two");
    CHECK(peer.read_text() == "three");
    CHECK(peer.read_text() == "four");
}

TEST_CASE("any number of coroutines may await closed(), and those that were cancelled are forgotten") {
    caller elsewhere;
    lobby all;
    auto peer = test_client::open(all.server.port());
    const client who = all.handle(0);
    std::vector<settled_future<close_info>> waiting;
    for (int i = 0; i < 20; ++i) {
        waiting.push_back(elsewhere.start(who.closed()));
        asio::cancellation_signal cancel;
        auto given_up = asio::co_spawn(elsewhere.context(), settle(who.closed()),
                                       asio::bind_cancellation_slot(cancel.slot(), asio::use_future));
        asio::post(elsewhere.context(), [&cancel] { cancel.emit(asio::cancellation_type::terminal); });
        CHECK(given_up.get().failure == asio::error::operation_aborted);
    }
    who.close(close_code{4001}, "enough");
    CHECK(peer.read_close().code == 4001);
    peer.close();
    for (auto& each : waiting) CHECK(each.get().code == close_code{4001});
}

TEST_CASE("close is ordered behind what was queued, and closed() tells how the connection ended") {
    caller elsewhere;
    lobby all;
    auto peer = test_client::open(all.server.port());
    const client who = all.handle(0);
    auto closed = elsewhere.start(who.closed());
    for (int i = 0; i < 100; ++i) CHECK(who.try_send(command_id{5}, payload{std::to_string(i)}) == send_status::queued);
    who.close(close_code{4001}, "enough");
    who.close(close_code{4002}, "too late");
    CHECK(who.try_send(command_id{5}, "after") == send_status::closed);
    for (int i = 0; i < 100; ++i) CHECK(peer.read_command(5) == std::to_string(i));
    CHECK(peer.read_close() == received_close{4001, "enough"});
    CHECK_FALSE(is_ready(closed));
    peer.send_close(4001);
    CHECK(peer.ends_cleanly());
    peer.close();
    REQUIRE(is_ready(closed, 10s));
    const close_info expected{close_code{4001}, "enough", close_initiator::server, true};
    CHECK(closed.get() == expected);
    CHECK(all.end(0) == expected);
    CHECK(elsewhere.await(who.closed()) == expected);
    CHECK(who.close_info() == expected);
}

TEST_CASE("closed() tells what the client said when it left, and can be cancelled") {
    caller elsewhere;
    lobby all;
    auto peer = test_client::open(all.server.port());
    const client who = all.handle(0);
    asio::cancellation_signal signal;
    auto outcome = asio::co_spawn(elsewhere.context(), settle(who.closed()),
                                  asio::bind_cancellation_slot(signal.slot(), asio::use_future));
    asio::post(elsewhere.context(), [&] { signal.emit(asio::cancellation_type::terminal); });
    CHECK(outcome.get().failure == asio::error::operation_aborted);
    auto closed = elsewhere.start(who.closed());
    peer.send_close(3000, "see you");
    CHECK(peer.read_close().code == 3000);
    peer.close();
    CHECK(closed.get() == close_info{close_code{3000}, "see you", close_initiator::peer, true});
}

TEST_CASE("a close reason is cut to what fits") {
    lobby all;
    auto peer = test_client::open(all.server.port());
    all.handle(0).close(close_code::normal, std::string(122, 'r') + "\xC3\xA9");  // the last character would be cut in two
    CHECK(peer.read_close() == received_close{1000, std::string(122, 'r')});
}

TEST_CASE("abort ends the connection with a reset") {
    caller elsewhere;
    lobby all;
    auto peer = test_client::open(all.server.port());
    const client who = all.handle(0);
    who.abort();
    CHECK_THROWS_AS((void)peer.read_frame(), std::system_error);
    const close_info why = elsewhere.await(who.closed());
    CHECK(why.code == close_code::abnormal);
    CHECK(why.initiator == close_initiator::server);
    CHECK_FALSE(why.clean);
}

TEST_CASE("after the close everything answers softly") {
    caller elsewhere;
    lobby all;
    auto peer = test_client::open(all.server.port(), "/ws?a=b");
    const client who = all.handle(0);
    peer.close();
    all.end(0);
    CHECK_FALSE(who.is_alive());
    CHECK(who.try_send(command_id{1}, "x") == send_status::closed);
    CHECK(who.try_send_text("x") == send_status::closed);
    CHECK(failure_of([&] { elsewhere.await(who.send(command_id{1}, "x")); }) == errc::closed);
    CHECK(failure_of([&] { elsewhere.await(who.send_text("x")); }) == errc::closed);
    CHECK(failure_of([&] { (void)elsewhere.await(who.call("method")); }) == errc::closed);
    CHECK(failure_of([&] { elsewhere.await(who.notify("method")); }) == errc::closed);
    CHECK(elsewhere.await(who.closed()).code == close_code::abnormal);
    who.close();
    who.abort();
    CHECK(who.id().to_string().size() == 36);
    CHECK(who.query("a") == "b");
    CHECK(who.remote_address().starts_with("127.0.0.1:"));
    CHECK(all.server->clients().size() == 0);
}

TEST_CASE("handles outlive the server") {
    caller elsewhere;
    client who;
    clients everybody;
    settled_future<close_info> closed;
    {
        lobby all;
        auto peer = test_client::open(all.server.port());
        who = all.handle(0);
        everybody = who.clients();
        CHECK(everybody.size() == 1);
        closed = elsewhere.start(who.closed());
        all.handles.clear();
    }
    REQUIRE(is_ready(closed, 10s));
    CHECK_FALSE(who.is_alive());
    CHECK(who.try_send(command_id{1}, "x") == send_status::closed);
    CHECK(failure_of([&] { elsewhere.await(who.send(command_id{1}, "x")); }) == errc::closed);
    who.close();
    who.abort();
    CHECK(who.close_info().has_value());
    CHECK(who.id() != client_id{});
    CHECK(everybody.size() == 0);
    CHECK(everybody.all().empty());
    CHECK_FALSE(everybody.find(who.id()));
    CHECK(elsewhere.await(everybody.broadcast(command_id{1}, "x")).queued == 0);
    CHECK(who.clients().size() == 0);
}

TEST_CASE("a handle to nobody behaves as one whose client has left") {
    caller elsewhere;
    const client nobody;
    CHECK_FALSE(nobody.is_alive());
    CHECK(nobody.try_send(command_id{1}, "x") == send_status::closed);
    CHECK(failure_of([&] { elsewhere.await(nobody.send(command_id{1}, "x")); }) == errc::closed);
    CHECK(nobody.identity().empty());
    CHECK(nobody.clients().size() == 0);
    nobody.close();
    nobody.abort();
    CHECK(elsewhere.await(nobody.closed()) == close_info{});
    CHECK(nobody == client{});
}

TEST_CASE("try_send says full when the client does not read, and takes more when it does") {
    lobby all{small_outbox()};
    auto peer = slow_reader(all.server.port());
    const client who = all.handle(0);
    const std::size_t queued = fill(all, who);
    CHECK(queued >= 1);
    read_filling(peer, queued);
    CHECK(eventually([&] { return who.try_send(command_id{5}, "again") == send_status::queued; }));
    CHECK(peer.read_command(5) == "again");
}

TEST_CASE("what happens to a message without room is chosen for each send") {
    lobby all{small_outbox()};
    auto peer = slow_reader(all.server.port());
    const client who = all.handle(0);
    const std::size_t queued = fill(all, who);
    CHECK(who.try_send(command_id{9}, payload{bulk}, overflow_policy::drop_newest) == send_status::full);
    CHECK(who.try_send(command_id{5}, "state 1", overflow_policy::latest, 1) == send_status::queued);
    CHECK(who.try_send(command_id{5}, "state 2", overflow_policy::latest, 1) == send_status::queued);
    read_filling(peer, queued - 1);  // one was dropped for the state
    CHECK(peer.read_command(5) == "state 2");

    (void)fill(all, who);
    CHECK(who.try_send(command_id{9}, payload{bulk}, overflow_policy::close) == send_status::full);
    CHECK(peer.read_close() == received_close{3008, "slow consumer"});
}

TEST_CASE("send waits for room and keeps the order") {
    caller elsewhere;
    lobby all{small_outbox()};
    auto peer = slow_reader(all.server.port());
    const client who = all.handle(0);
    const std::size_t queued = fill(all, who);
    static constexpr int count = 50;
    auto sent = elsewhere.start([](client to) -> asio::awaitable<void> {
        for (int i = 0; i < count; ++i) co_await to.send(command_id{5}, payload{std::to_string(i) + bulk});
    }(who));
    CHECK_FALSE(is_ready(sent, 50ms));
    read_filling(peer, queued);
    for (int i = 0; i < count; ++i) CHECK(peer.read_command(5) == std::to_string(i) + bulk);
    REQUIRE(is_ready(sent, 10s));
    CHECK_NOTHROW(sent.get());
}

TEST_CASE("a send that is cancelled while it waits sends nothing, and those behind it go on") {
    caller elsewhere;
    lobby all{small_outbox()};
    auto peer = slow_reader(all.server.port());
    const client who = all.handle(0);
    const std::size_t queued = fill(all, who);
    asio::cancellation_signal signal;
    auto outcome = asio::co_spawn(elsewhere.context(), settle(who.send(command_id{5}, payload{"cancelled" + bulk})),
                                  asio::bind_cancellation_slot(signal.slot(), asio::use_future));
    auto behind = elsewhere.start(who.send(command_id{5}, payload{"behind" + bulk}));
    asio::post(elsewhere.context(), [&] { signal.emit(asio::cancellation_type::terminal); });
    CHECK(outcome.get().failure == asio::error::operation_aborted);
    CHECK_FALSE(is_ready(behind));
    read_filling(peer, queued);
    CHECK(peer.read_command(5) == "behind" + bulk);
    CHECK(is_ready(behind, 10s));
    CHECK(who.try_send(command_id{6}, "last") == send_status::queued);
    CHECK(peer.read_command(6) == "last");
}

TEST_CASE("a send that waits when the client leaves ends with closed") {
    caller elsewhere;
    lobby all{small_outbox()};
    auto peer = slow_reader(all.server.port());
    const client who = all.handle(0);
    (void)fill(all, who);
    auto waiting = elsewhere.start(who.send(command_id{5}, payload{bulk}));
    CHECK_FALSE(is_ready(waiting, 20ms));
    peer.reset();
    REQUIRE(is_ready(waiting, 10s));
    CHECK(failure_of([&] { waiting.get(); }) == errc::closed);
}

TEST_CASE("drained completes when the kernel has taken everything") {
    caller elsewhere;
    lobby all{small_outbox()};
    auto peer = slow_reader(all.server.port());
    const client who = all.handle(0);
    elsewhere.await(who.drained());  // nothing is queued
    const std::size_t queued = fill(all, who);
    auto drained = elsewhere.start(who.drained());
    CHECK_FALSE(is_ready(drained, 20ms));
    read_filling(peer, queued);
    REQUIRE(is_ready(drained, 10s));
    CHECK_NOTHROW(drained.get());
    const server_stats stats = all.server->stats();
    CHECK(stats.outbound.still_queued_bytes == 0);
    CHECK(stats.outbound.counters.written_messages == queued + 1);
}

TEST_CASE("drained ends with closed when the client leaves before") {
    caller elsewhere;
    lobby all{small_outbox()};
    auto peer = slow_reader(all.server.port());
    const client who = all.handle(0);
    (void)fill(all, who);
    auto drained = elsewhere.start(who.drained());
    CHECK_FALSE(is_ready(drained, 20ms));
    peer.reset();
    REQUIRE(is_ready(drained, 10s));
    CHECK(failure_of([&] { drained.get(); }) == errc::closed);
    all.end(0);
    CHECK(failure_of([&] { elsewhere.await(who.drained()); }) == errc::closed);
    CHECK(failure_of([&] { elsewhere.await(client{}.drained()); }) == errc::closed);
}

TEST_CASE("what was sent adds up to the byte, also for clients that have left") {
    lobby all{small_outbox()};
    const auto adds_up = [&] {
        const outbound_totals all_sent = all.server->stats().outbound;
        const outbound_counters& c = all_sent.counters;
        CHECK(c.queued_bytes == c.written_bytes + c.dropped_bytes + c.replaced_bytes + c.discarded_bytes +
                                    all_sent.still_queued_bytes);
        CHECK(c.queued_messages == c.written_messages + c.dropped_messages + c.replaced_messages +
                                       c.discarded_messages + all_sent.still_queued_messages);
        return all_sent;
    };
    auto quick = test_client::open(all.server.port());
    quick.send_command(1, "hello");
    CHECK(quick.read_command(1) == "hello");
    auto peer = slow_reader(all.server.port());
    const client who = all.handle(1);
    const std::size_t queued = fill(all, who);
    CHECK(who.try_send(command_id{9}, payload{bulk}, overflow_policy::drop_oldest) == send_status::queued);
    CHECK(who.try_send(command_id{9}, "1", overflow_policy::latest, 4) == send_status::queued);
    CHECK(who.try_send(command_id{9}, "2", overflow_policy::latest, 4) == send_status::queued);
    const outbound_totals during = adds_up();
    CHECK(during.counters.queued_messages == 1 + 1 + queued + 3);
    CHECK(during.counters.dropped_messages == 2);
    CHECK(during.counters.replaced_messages == 1);
    CHECK(during.still_queued_messages == 1 + queued);
    peer.reset();
    all.end(0);
    const outbound_totals after = adds_up();
    CHECK(after.counters.queued_messages == during.counters.queued_messages);
    CHECK(after.counters.discarded_messages == 1 + queued);
    CHECK(after.still_queued_messages == 0);
    CHECK(eventually([&] { return all.server->stats().outbox_memory == 0; }));
}

TEST_CASE("the outboxes of all clients share a budget: those that do not read use it up, those that do are served") {
    caller elsewhere;
    server_options options = small_outbox();
    options.outbox.max_messages = 100;
    options.outbox_budget = 5 * boulder.size() / 2;
    lobby all{options};
    auto quick = test_client::open(all.server.port());
    (void)all.handle(0);
    auto first = slow_reader(all.server.port());
    auto second = slow_reader(all.server.port());
    for (const std::size_t i : {1U, 2U}) {  // one message always fits an empty outbox
        const auto written = [&] { return all.server->stats().outbound.counters.written_bytes; };
        const auto before = written();
        CHECK(all.handle(i).try_send(command_id{9}, payload{boulder}) == send_status::queued);
        REQUIRE(eventually([&] { return written() > before; }));
    }
    CHECK(all.server->stats().outbox_memory >= 2 * boulder.size());
    CHECK(all.handle(1).try_send(command_id{9}, payload{bulk}) == send_status::full);
    CHECK(all.handle(2).try_send(command_id{9}, payload{bulk}) == send_status::full);

    for (int i = 0; i < 20; ++i) {
        CHECK(elsewhere.await(all.server->broadcast(command_id{7}, payload{bulk}, {.overflow = overflow_policy::drop_newest}))
                  .dropped == 2);
        CHECK(quick.read_command(7) == bulk);
        quick.send_command(1, bulk);
        CHECK(quick.read_command(1) == bulk);
    }
    // With the policy of a broadcast, those that use the budget are closed, and it is free again.
    CHECK(elsewhere.await(all.server->broadcast(command_id{7}, payload{bulk})).dropped == 2);
    CHECK(quick.read_command(7) == bulk);
    first.reset();
    second.reset();
    CHECK(all.end(0).code == close_code::slow_consumer);
    CHECK(all.end(1).code == close_code::slow_consumer);
    CHECK(eventually([&] { return all.server->stats().outbox_memory < 10'000; }));
}

TEST_CASE("a broadcast that waits in many outboxes counts once in the budget") {
    caller elsewhere;
    server_options options = small_outbox();
    options.outbox.max_messages = 100;
    lobby all{options};
    std::vector<test_client> peers;
    for (std::size_t i = 0; i < 5; ++i) {
        peers.push_back(slow_reader(all.server.port()));
        (void)all.handle(i);
    }
    CHECK(elsewhere.await(all.server->broadcast(command_id{9}, payload{boulder})).queued == 5);
    for (int i = 0; i < 10; ++i) CHECK(elsewhere.await(all.server->broadcast(command_id{9}, payload{bulk})).queued == 5);
    const std::size_t used = all.server->stats().outbox_memory;
    CHECK(used >= boulder.size() + 10 * bulk.size());
    CHECK(used < boulder.size() + 11 * bulk.size());
    for (auto& peer : peers) peer.reset();
    CHECK(eventually([&] { return all.server->stats().outbox_memory == 0; }));
}

TEST_CASE("a broadcast reaches everybody but those excluded, and what is sent next comes after it") {
    caller elsewhere;
    server_options options = quiet_options();
    options.io_threads = 2;
    lobby all{options};
    std::vector<test_client> peers;
    for (std::size_t i = 0; i < 6; ++i) {
        peers.push_back(test_client::open(all.server.port()));
        (void)all.handle(i);
    }
    const client_id excluded = all.handle(2).id();
    auto sent = elsewhere.start([](kephas::clients to, client_id except) -> asio::awaitable<broadcast_report> {
        const broadcast_report report = co_await to.broadcast(command_id{7}, "to all", {.except = {except}});
        for (const client& each : to.all()) co_await each.send(command_id{8}, "after");
        co_await to.broadcast_text("and text");
        co_return report;
    }(all.server->clients(), excluded));
    const broadcast_report report = sent.get();
    CHECK(report.queued == 5);
    CHECK(report.dropped == 0);
    for (std::size_t i = 0; i < peers.size(); ++i) {
        if (i != 2) CHECK(peers[i].read_command(7) == "to all");
        CHECK(peers[i].read_command(8) == "after");
        CHECK(peers[i].read_text() == "and text");
    }
}

TEST_CASE("a broadcast to a client that does not read closes that one with 3008, and no other") {
    caller elsewhere;
    lobby all{small_outbox()};
    auto slow = slow_reader(all.server.port());
    const client sleeper = all.handle(0);
    auto quick = test_client::open(all.server.port());
    (void)all.handle(1);
    const std::size_t queued = fill(all, sleeper);
    auto report = elsewhere.await(all.server->broadcast(command_id{7}, payload{bulk},
                                                        {.overflow = overflow_policy::drop_newest}));
    CHECK(report.queued == 1);
    CHECK(report.dropped == 1);
    CHECK(sleeper.is_alive());
    CHECK(quick.read_command(7) == bulk);  // its small outbox has room for one at a time
    report = elsewhere.await(all.server->broadcast(command_id{7}, payload{bulk}));
    CHECK(report.queued == 1);
    CHECK(report.dropped == 1);
    CHECK(all.server->stats().broadcast_dropped == 2);
    CHECK(quick.read_command(7) == bulk);
    CHECK(eventually([&] { return !sleeper.is_alive(); }));
    CHECK(slow.read_close() == received_close{3008, "slow consumer"});  // behind the frame that was being written
    slow.close();
    const close_info why = all.end(0);
    CHECK(why.code == close_code::slow_consumer);
    CHECK(why.initiator == close_initiator::server);
    CHECK(queued >= 1);
    quick.send_command(1, "unaffected");
    CHECK(quick.read_command(1) == "unaffected");
}

TEST_CASE("clients are found, counted, listed and sent to by their ids") {
    caller elsewhere;
    server_options options = quiet_options();
    options.io_threads = 3;
    lobby all{options};
    std::vector<test_client> peers;
    for (std::size_t i = 0; i < 5; ++i) {
        peers.push_back(test_client::open(all.server.port()));
        (void)all.handle(i);
    }
    const auto everybody = all.server->clients();
    CHECK(everybody.size() == 5);
    CHECK(everybody.all().size() == 5);
    for (std::size_t i = 0; i < 5; ++i) {
        const client who = all.handle(i);
        const auto found = everybody.find(who.id());
        REQUIRE(found);
        CHECK(*found == who);
        elsewhere.await(everybody.send(who.id(), command_id{4}, payload{std::to_string(i)}));
        CHECK(peers[i].read_command(4) == std::to_string(i));
    }
    const client_id gone = all.handle(3).id();
    peers[3].close();
    all.end(0);
    CHECK(everybody.size() == 4);
    CHECK_FALSE(everybody.find(gone));
    CHECK(failure_of([&] { elsewhere.await(everybody.send(gone, command_id{4}, "x")); }) == errc::client_not_found);
    CHECK(failure_of([&] { elsewhere.await(everybody.send(client_id{}, command_id{4}, "x")); }) == errc::client_not_found);
}

TEST_CASE("a client is registered before on_connect, and refused there by a close") {
    router routes;
    std::atomic<bool> found{false};
    std::atomic<bool> not_reading{false};
    routes.on_connect([&](client who) -> asio::awaitable<void> {
        found = who.clients().find(who.id()).has_value();
        try {
            (void)co_await who.call("anything");
        } catch (const error& failure) {
            not_reading = failure.code() == errc::not_reading;
        }
        co_await who.send(command_id{1}, "sorry");
        who.close(close_code{4003}, "not today");
    });
    running_server server{std::move(routes)};
    auto peer = test_client::open(server.port());
    CHECK(peer.read_command(1) == "sorry");
    CHECK(peer.read_close() == received_close{4003, "not today"});
    CHECK(found);
    CHECK(not_reading);
}
