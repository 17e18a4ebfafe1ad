// What a listener does when accept fails.
#include <support/running_server.hpp>
#include <support/temporary_folder.hpp>
#include <support/test_client.hpp>

#include <kephas/net/virtual_clock.hpp>

#include <kephas/server/listener.hpp>

#include <asio/co_spawn.hpp>
#include <asio/io_context.hpp>

#include <doctest/doctest.h>

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include <sys/socket.h>
#include <unistd.h>

using namespace kephas;
using namespace kephas::test;
using namespace std::chrono_literals;

namespace {

/// A listener on a real socket, one client that waits to be accepted, and errors that come before it is.
class fixture {
public:
    explicit fixture(std::deque<int> failures, std::string address = {})
        : listener_{context_.get_executor(), listen_address::parse(address.empty() ? "unix://" + socket_ : address), {}, 0},
          failures_{std::move(failures)} {
        asio::co_spawn(
            context_,
            listener_.accept([this](int fd, const auto&, const auto&) { accepted_.push_back(fd); },
                             logger{log_level::debug, [this](log_level, std::string_view line) { log.emplace_back(line); }},
                             [this](int listening) { return take(listening); }),
            [this](std::exception_ptr failure) {
                CHECK_FALSE(failure);
                ended = true;
            });
    }
    fixture(const fixture&) = delete;
    fixture& operator=(const fixture&) = delete;
    ~fixture() {
        listener_.stop();
        time.run_for(context_, 1s);
        CHECK(ended);
        for (const int fd : accepted_) ::close(fd);
    }

    void settle() { (void)time.settle(context_); }
    void run_for(duration how_long) { time.run_for(context_, how_long); }
    void fail_with(int failure, int times = 1) { failures_.insert(failures_.end(), static_cast<std::size_t>(times), failure); }
    void fail_always_with(int failure) { always_ = failure; }
    /// It is in the queue of the kernel when this returns, which TCP would not promise.
    void connect() { clients_.emplace_back(socket_); }
    [[nodiscard]] std::string url() const { return listener_.url(); }
    [[nodiscard]] std::size_t accepted() const noexcept { return accepted_.size(); }
    /// Ends the listening socket without the listener's knowledge.
    void break_listener() { ::shutdown(listening_, SHUT_RDWR); }

    virtual_clock time;
    std::vector<std::string> log;
    std::size_t attempts = 0;
    bool ended = false;

private:
    int take(int listening) {
        ++attempts;
        listening_ = listening;
        if (always_ == 0 && failures_.empty()) return ::accept4(listening, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
        errno = always_;
        if (always_ == 0) {
            errno = failures_.front();
            failures_.pop_front();
        }
        return -1;
    }

    asio::io_context context_;
    temporary_folder folder_;
    std::string socket_ = folder_ / "listener.sock";
    listener listener_;
    std::deque<int> failures_;
    int always_ = 0;
    int listening_ = -1;
    std::deque<test_client> clients_;
    std::vector<int> accepted_;
};

using lines = std::vector<std::string>;

}  // namespace

TEST_CASE("an error of one connection is passed over at once, without a word") {
    for (const int failure : {ECONNABORTED, EINTR, EPROTO, EPERM, ENETDOWN, ENETUNREACH, EHOSTDOWN, EHOSTUNREACH, ENONET,
                              ENOPROTOOPT, EOPNOTSUPP, ETIMEDOUT, ECONNRESET}) {
        CAPTURE(failure);
        fixture listening{{failure, failure}};
        listening.connect();
        listening.connect();
        listening.settle();
        CHECK(listening.accepted() == 2);
        CHECK(listening.log.empty());
    }
}

TEST_CASE("many connections that are lost do not hold up those that are not") {
    fixture listening{{}};
    for (int i = 0; i < 5; ++i) {
        listening.fail_with(ECONNABORTED, 63);
        listening.connect();
        listening.settle();
        CHECK(listening.accepted() == static_cast<std::size_t>(i + 1));
    }
    CHECK(listening.log.empty());
}

TEST_CASE("a shortage is a pause and one line in the log; then all who waited are accepted") {
    for (const int failure : {EMFILE, ENFILE, ENOBUFS, ENOMEM, EINVAL}) {
        CAPTURE(failure);
        fixture listening{{failure, ECONNABORTED, failure, failure}};
        listening.connect();
        listening.connect();
        listening.settle();
        const std::string said = "cannot accept connections: " + std::system_category().message(failure) + "; trying again";
        CHECK(listening.attempts == 1);
        CHECK(listening.log == lines{said});
        listening.run_for(99ms);
        CHECK(listening.attempts == 1);
        listening.run_for(1ms);
        CHECK(listening.attempts == 3);
        listening.run_for(100ms);
        CHECK(listening.attempts == 4);
        CHECK(listening.accepted() == 0);
        listening.run_for(100ms);
        CHECK(listening.accepted() == 2);
        CHECK(listening.log == lines{said, "accepting connections again"});

        // Not even that, if it happens again within ten seconds; after that it is news.
        listening.fail_with(failure);
        listening.connect();
        listening.run_for(200ms);
        CHECK(listening.accepted() == 3);
        CHECK(listening.log.size() == 2);
        listening.run_for(10s);
        listening.fail_with(failure);
        listening.connect();
        listening.run_for(200ms);
        CHECK(listening.accepted() == 4);
        CHECK(listening.log == lines{said, "accepting connections again", said, "accepting connections again"});
    }
}

TEST_CASE("a listener that is broken for good says so once, does not spin, and can be stopped") {
    for (const int failure : {EINVAL, EBADF, ENOTSOCK, ECONNABORTED, EPERM, EINTR}) {
        CAPTURE(failure);
        fixture listening{{}};
        listening.fail_always_with(failure);
        listening.connect();
        listening.run_for(60s);
        CHECK(listening.attempts > 500);        // it would go on if it could, ...
        CHECK(listening.attempts <= 601 * 64);  // ... and looks ten times a second
        CHECK(listening.log == lines{"cannot accept connections: " + std::system_category().message(failure) + "; trying again"});
        CHECK_FALSE(listening.ended);
    }
    fixture really{{}, "ws://127.0.0.1:0/ws"};  // a Unix socket would not tell
    const test_client first{static_cast<std::uint16_t>(std::stoul(really.url().substr(15)))};
    REQUIRE(eventually([&] {
        really.settle();
        return really.accepted() == 1;
    }));
    really.break_listener();
    really.run_for(60s);
    CHECK(really.attempts <= 603);
    CHECK(really.log == lines{"cannot accept connections: Invalid argument; trying again"});
}
