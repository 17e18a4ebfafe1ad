// How connections end when what was sent to the peer is still on its way: it is delivered if the peer takes it in time, and
// taken back, with a reset, if it does not.
#include <support/virtual_world.hpp>

#include <doctest/doctest.h>

using namespace kephas;
using namespace kephas::test;
using namespace std::chrono_literals;

namespace {

router echo_routes() {
    router routes;
    routes.on(command_id{1}, dispatch::on_strand,
              [](request req) -> asio::awaitable<std::optional<payload>> { co_return payload{req.share()}; });
    return routes;
}

const std::string echoed = "binary " + test_client::command(1, "hello");

/// A stream whose peer has an address of the test's choice.
class named_stream final : public stream {
public:
    named_stream(std::unique_ptr<stream> inner, std::string address)
        : inner_{std::move(inner)}, address_{std::move(address)} {}
    std::size_t read_some(read_buffer& buffer, std::error_code& ec) override { return inner_->read_some(buffer, ec); }
    void wait_readable(read_waiter& who) override { inner_->wait_readable(who); }
    std::size_t write_some(std::span<const bytes_view> buffers, std::error_code& ec) override {
        return inner_->write_some(buffers, ec);
    }
    void wait_writable(std::function<void(std::error_code)> ready) override { inner_->wait_writable(std::move(ready)); }
    void shutdown_send() noexcept override { inner_->shutdown_send(); }
    void close() noexcept override { inner_->close(); }
    void abort() noexcept override { inner_->abort(); }
    bool peer_gone() const noexcept override { return inner_->peer_gone(); }
    std::string remote_address() const override { return address_; }

private:
    std::unique_ptr<stream> inner_;
    std::string address_;
};

}  // namespace

TEST_CASE("a peer that has only ended its side takes the reply that is on its way, or is cut off") {
    for (const bool with_close_frame : {false, true}) {
        for (const bool takes : {false, true}) {
            CAPTURE(with_close_frame);
            CAPTURE(takes);
            virtual_world world{echo_routes()};
            memory_client client = world.open();
            client.link().to_client().hold();
            client.send_command(1, "hello");
            world.settle();
            if (with_close_frame) client.send_close(1000);
            client.end();
            world.run_for(1900ms);
            CHECK_FALSE(client.link().to_client().was_reset());
            CHECK(world->stats().closed == 0);
            if (takes) client.link().to_client().release();
            world.run_for(takes ? 20ms : 200ms);
            events expected{"reset"};
            if (takes) expected = with_close_frame ? events{echoed, "close 1000", "end"} : events{echoed, "end"};
            CHECK(client.take() == expected);
            CHECK(world->stats().closed == 1);
        }
    }
}

TEST_CASE("a linger timeout of zero waits for nothing: what is on its way leaves in order") {
    server_options options = virtual_options();
    options.linger_timeout = 0s;
    virtual_world world{echo_routes(), options};
    memory_client client = world.open();
    client.link().to_client().hold();
    SUBCASE("behind a close frame") {
        client.send_close(1000);
        world.run_for(1s);
        CHECK(world->stats().closed == 1);
        client.link().to_client().release();
        CHECK(client.take() == events{"close 1000", "end"});
    }
    SUBCASE("behind a response") {
        memory_client other = world.connect();
        other.link().to_client().hold();
        other.send_raw("GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n");
        world.run_for(1s);
        other.link().to_client().release();
        CHECK(other.take() == events{"HTTP/1.1 200 OK", "end"});
    }
}

TEST_CASE("a response that is never taken does not stay behind") {
    server_options options = virtual_options();
    options.handshake_timeout = 5s;
    options.write_timeout = 5s;
    virtual_world world{echo_routes(), options};
    memory_client client = world.connect();
    client.link().to_client().hold();
    SUBCASE("all of it is on its way") {
        client.send_raw("GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n");
        world.run_for(1900ms);
        CHECK_FALSE(client.link().to_client().was_reset());
        SUBCASE("the peer has ended its side") { client.end(); }
        SUBCASE("it has not") {}
        world.run_for(200ms);
        CHECK(client.take() == events{"reset"});
    }
    SUBCASE("a part of it is") {
        client.link().to_client().set_capacity(50);
        client.send_raw("GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n");
        world.run_for(6s);
        CHECK(client.take() == events{"reset"});
    }
    SUBCASE("the peer has ended its side, and takes it later") {
        client.send_raw("GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n");
        client.end();
        world.run_for(1s);
        client.link().to_client().release();
        CHECK(client.take() == events{"HTTP/1.1 200 OK", "end"});
    }
}

TEST_CASE("a drain counts no handshake that has ended meanwhile") {
    server_options options = virtual_options();
    options.drain.batch = 1;
    options.drain.batch_interval = 100ms;
    options.drain.jitter = 0;
    virtual_world world{echo_routes(), options};
    memory_client one = world.connect();
    memory_client two = world.connect();
    world->stop();
    world.settle();
    const bool first = one.take() == events{"HTTP/1.1 503 Service Unavailable", "end"};
    memory_client& waits = first ? two : one;
    waits.end();
    world.settle();
    (void)world.stop();
    CHECK(waits.history() == events{"end"});
    CHECK(world->stats().refused_for(refusal_reason::draining) == 1);
    CHECK(world->stats().refused == 1);
}

TEST_CASE("a handshake that the drain has refused is counted once, as what it was told") {
    router routes = echo_routes();
    routes.authorize([](http::request) -> asio::awaitable<authorization> {
        co_await pause_for(50ms);
        co_return authorization::refuse(http::status_code::forbidden);
    });
    virtual_world world{std::move(routes)};
    memory_client client = world.connect();
    client.send_handshake();
    world.run_for(10ms);
    world->stop();
    world.run_for(100ms);
    CHECK(client.take() == events{"HTTP/1.1 503 Service Unavailable", "end"});
    client.end();
    (void)world.stop();
    const server_stats stats = world->stats();
    CHECK(stats.refused == 1);
    CHECK(stats.http_responses[5] == 1);
    CHECK(stats.http_responses[4] == 0);
    CHECK(stats.refused_for(refusal_reason::draining) == 1);
    CHECK(stats.refused_for(refusal_reason::unauthorized) == 0);
}

TEST_CASE("metrics are for the peers whose address is known to be one of theirs") {
    const auto status = [](const std::string& address, std::vector<std::string> from) {
        server_options options = virtual_options();
        options.metrics_path = "/metrics";
        if (!from.empty()) options.metrics_from = std::move(from);
        virtual_world world{router{}, options};
        const memory_link link;
        world->attach(
            [&](const asio::any_io_executor& executor) {
                return std::make_unique<named_stream>(link.server_end(executor), address);
            },
            "");
        memory_client client{link};
        client.send_raw("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
        client.end();
        world.settle();
        return client.take().at(0);
    };
    const std::string yes = "HTTP/1.1 200 OK";
    const std::string no = "HTTP/1.1 404 Not Found";
    CHECK(status("127.0.0.1:80", {}) == yes);
    CHECK(status("[::1]:80", {}) == yes);
    CHECK(status("unix", {}) == yes);
    CHECK(status("192.0.2.1:80", {}) == no);
    CHECK(status("[fe80::1%eth0]:80", {}) == no);
    CHECK(status("[fe80::1%eth0]:80", {"fe80::/10"}) == yes);
    CHECK(status("unknown", {}) == no);
    CHECK(status("memory", {}) == no);
    CHECK(status("", {}) == no);
}
