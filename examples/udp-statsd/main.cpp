// Counters over UDP, as StatsD has them:
//   kephas-udp-statsd udp://:8125                                  the server; what it knows is told to whoever sends "stats"
//   kephas-udp-statsd --send myapp.requests:1 udp://127.0.0.1:8125  a client
#include <kephas/net/connect_datagram.hpp>
#include <kephas/net/datagram_server.hpp>

#include <asio/co_spawn.hpp>
#include <asio/io_context.hpp>

#include <fmt/format.h>

#include <charconv>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace {

class counters {
public:
    /// `name:value|c`; false if it is something else, a name that is too long, or one name too many.
    bool add(std::string_view line) {
        const std::size_t colon = line.find(':');
        if (colon == 0 || colon == std::string_view::npos || !line.ends_with("|c")) return false;
        const std::string_view digits = line.substr(colon + 1, line.size() - colon - 3);
        std::int64_t value = 0;
        const auto [end, failure] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
        if (failure != std::errc{} || end != digits.data() + digits.size()) return false;
        const std::string_view name = line.substr(0, colon);
        if (name.size() > longest_name) return false;
        auto found = sums_.find(name);
        if (found == sums_.end()) {
            if (sums_.size() == most_names) return false;
            found = sums_.emplace(name, 0).first;
        }
        add_up(found->second, value);
        return true;
    }
    /// As many lines as one datagram takes.
    [[nodiscard]] std::string text() const {
        std::string all;
        for (const auto& [name, sum] : sums_) {
            const std::string line = fmt::format("{}:{}\n", name, sum);
            if (all.size() + line.size() > longest_text) break;
            all += line;
        }
        return all;
    }

private:
    // What comes from anybody has limits.
    static constexpr std::size_t most_names = 10'000;
    static constexpr std::size_t longest_name = 200;
    static constexpr std::size_t longest_text = 65'507;

    /// What is too large or too small stays at the end of what there is.
    static void add_up(std::int64_t& sum, std::int64_t value) {
        using limits = std::numeric_limits<std::int64_t>;
        if (value > 0 && sum > limits::max() - value) sum = limits::max();
        else if (value < 0 && sum < limits::min() - value) sum = limits::min();
        else sum += value;
    }

    std::map<std::string, std::int64_t, std::less<>> sums_;
};

int serve(std::string_view where) {
    counters sums;
    kephas::datagram_server_options options;
    options.on_message = [](std::string_view text) { fmt::print("{}\n", text), std::fflush(stdout); };
    //[udp-statsd
    kephas::datagram_server server{
        where,
        [&sums](kephas::datagram_socket& socket) -> asio::awaitable<void> {
            while (const auto datagram = co_await socket.receive()) {
                const std::string_view text = kephas::as_text(datagram->bytes);
                std::string answer;
                if (text == "stats") answer = sums.text();
                else if (datagram->truncated() || !sums.add(text)) answer = "not a counter";
                else continue;
                // A Unix socket without a name cannot be answered.
                if (!datagram->sender().empty()) co_await socket.send(answer, datagram->sender());
            }
        },
        options};
    const bool clean = server.run();
    //]
    fmt::print("{}", sums.text());
    return clean ? 0 : 1;
}

//[udp-client
asio::awaitable<void> count(std::string where, std::string line) {
    using namespace std::chrono_literals;
    const auto address = kephas::address::parse(where);
    const auto deadline = kephas::clock::now() + 5s;
    const auto server = co_await kephas::connect_datagram(address, deadline);
    co_await server->send(line);
    co_await server->send("stats");
    const auto answer = co_await server->receive(deadline);
    fmt::print("{}", kephas::as_text(answer->bytes));
}
//]

int send(const std::string& where, const std::string& counter) {
    asio::io_context context;
    std::exception_ptr failure;
    asio::co_spawn(context, count(where, counter + "|c"), [&](std::exception_ptr thrown) { failure = std::move(thrown); });
    context.run();
    if (failure) std::rethrow_exception(failure);
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    const bool client = argc > 2 && std::string_view{argv[1]} == "--send";
    if (argc > 4 || (!client && argc > 2)) {
        std::fprintf(stderr, "usage: kephas-udp-statsd [ADDRESS]\n       kephas-udp-statsd --send NAME:VALUE [ADDRESS]\n");
        return 2;
    }
    try {
        if (client) return send(argc > 3 ? argv[3] : "udp://:8125", argv[2]);
        return serve(argc > 1 ? argv[1] : "udp://:8125");
    } catch (const std::exception& failure) {
        std::fprintf(stderr, "kephas-udp-statsd: %s\n", failure.what());
        return 1;
    }
}
