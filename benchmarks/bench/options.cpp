#include "options.hpp"

#include "json_text.hpp"
#include <CLI/CLI.hpp>

#include <charconv>
#include <cmath>
#include <limits>
#include <stdexcept>
#include <utility>

namespace bench {

namespace {

constexpr std::size_t max_size = 256 * 1024 * 1024;
constexpr std::size_t number_size = 8;  // what tells the messages of a connection apart

std::uint32_t parse_command(std::string_view text) {
    const bool hexadecimal = text.starts_with("0x") || text.starts_with("0X");
    const std::string_view digits = text.substr(hexadecimal ? 2 : 0);
    std::uint32_t id = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), id, hexadecimal ? 16 : 10);
    if (error != std::errc{} || end != digits.data() + digits.size())
        throw CLI::ValidationError{"--command", "not a number of 32 bits: " + std::string{text}};
    return id;
}

void check_combination(const options& o) {
    for (const auto& [name, value] :
         {std::pair{"--seconds", o.seconds}, {"--warmup", o.warmup}, {"--rate", o.rate.value_or(1)}})
        if (std::isnan(value)) throw CLI::ValidationError{name, "not a number"};  // which no range excludes
    if (o.threads > o.connections) throw CLI::ValidationError{"--threads", "there are fewer connections than threads"};
    if (o.unordered && o.size < number_size)
        throw CLI::ValidationError{"--unordered", "replies can only be told apart from 8 bytes on: see --size"};
    if (o.broadcast && o.connections < 2)
        throw CLI::ValidationError{"--broadcast", "needs a connection that sends and one that receives"};
    if (o.reconnect && o.server.tls) throw CLI::ValidationError{"--reconnect", "not over TLS"};
    if (!o.params.empty() && !(is_json(o.params) && std::string_view{"[{"}.find(o.params.front()) != std::string::npos))
        throw CLI::ValidationError{"--params", "neither an array nor an object of JSON: " + o.params};
    if (o.expect && !is_json(*o.expect)) throw CLI::ValidationError{"--expect", "not JSON: " + *o.expect};
    if (o.call && o.verify && !o.expect && !o.expect_echo)
        throw CLI::ValidationError{"--verify", "of calls needs --expect or --expect-echo"};
    if (o.broadcast && o.threads > 1) throw CLI::ValidationError{"--broadcast", "runs on one thread"};
}

}  // namespace

std::optional<options> parse_options(int argc, const char* const* argv, int& exit_code) {
    options o;
    std::string url_text;
    std::string command;
    CLI::App app{
        "kephas-bench: measures a WebSocket echo server.\n"
        "Closed loop: each connection keeps --depth messages in flight. Open loop, with --rate: messages leave at "
        "times\n"
        "that are fixed beforehand, and latency counts from there, however late the server or this program is."};
    app.add_option("URL", url_text, "ws://HOST[:PORT][/PATH] or wss://...")->required();
    app.add_option("--connections", o.connections, "number of connections")
        ->capture_default_str()
        ->check(CLI::Range(std::size_t{1}, std::size_t{1'000'000}));
    auto* depth = app.add_option("--depth", o.depth, "unanswered messages per connection")
                      ->capture_default_str()
                      ->check(CLI::Range(std::size_t{1}, std::size_t{1'000'000}));
    auto* rate =
        app.add_option("--rate", o.rate, "messages per second of all connections together, on a fixed schedule")
            ->check(CLI::Range(0.001, 1e9))
            ->excludes(depth);
    auto* size = app.add_option("--size", o.size, "bytes per message")
                     ->capture_default_str()
                     ->check(CLI::Range(std::size_t{0}, max_size));
    auto* text = app.add_flag("--text", o.text, "text messages instead of binary ones");
    auto* with_command =
        app.add_option("--command", command, "put this 4-byte id in front of each message, for example 0x0100")
            ->excludes(text);
    auto* seconds = app.add_option("--seconds", o.seconds, "length of the measured window")
                        ->capture_default_str()
                        ->check(CLI::Range(0.001, 86'400.0));
    auto* warmup = app.add_option("--warmup", o.warmup, "seconds of the same load before it")
                       ->capture_default_str()
                       ->check(CLI::Range(0.0, 3'600.0));
    auto* messages = app.add_option("--messages", o.messages, "send exactly so many instead, and measure them all")
                         ->check(CLI::Range(std::uint64_t{1}, std::numeric_limits<std::uint64_t>::max() / 2))
                         ->excludes(seconds)
                         ->excludes(warmup)
                         ->excludes(rate);
    app.add_option("--threads", o.threads, "threads that share the connections")
        ->capture_default_str()
        ->check(CLI::Range(std::size_t{1}, std::size_t{256}));
    auto* verify = app.add_flag("--verify", o.verify, "compare every byte and the order of the replies");
    auto* unordered =
        app.add_flag("--unordered", o.unordered, "with --verify: replies may overtake each other")->needs(verify);
    auto* broadcast = app.add_flag("--broadcast", o.broadcast,
                                   "one connection sends, and all others have to receive; a message is a delivery")
                          ->excludes(rate);
    auto* call =
        app.add_option("--call", o.call,
                       "JSON-RPC calls of this method as the messages; replies are matched by their ids, in any "
                       "order")
            ->excludes(size)
            ->excludes(text)
            ->excludes(with_command)
            ->excludes(broadcast);
    app.add_option("--params", o.params, "of the calls: an array or an object")->needs(call);
    auto* expect = app.add_option("--expect", o.expect, "what every call has to result in, JSON")->needs(call);
    app.add_flag("--expect-echo", o.expect_echo, "every call has to come back as it was sent")
        ->needs(call)
        ->excludes(expect);
    auto* reconnect =
        app.add_flag(
               "--reconnect", o.reconnect,
               "open each connection with the handshake of a browser, send one message, close it when the echo has "
               "come, and begin again when the server has ended it; a message is a connection")
            ->excludes(depth)
            ->excludes(rate)
            ->excludes(broadcast)
            ->excludes(call)
            ->excludes(unordered);
    auto* pid = app.add_option("--pid", o.pid, "of the server on this machine: measure its CPU time and its memory")
                    ->check(CLI::PositiveNumber);
    app.add_flag("--json", o.json, "report as one line of JSON");
    auto* html = app.add_option("--html", o.html, "write a page with the distribution of the latencies to this file");
    app.add_flag("--idle", o.idle, "only open the connections, and report the server's memory for each")
        ->needs(pid)
        ->excludes(rate)
        ->excludes(messages)
        ->excludes(html)
        ->excludes(broadcast)
        ->excludes(reconnect);
    app.add_flag("--insecure", o.insecure, "wss: accept any certificate");
    try {
        app.parse(argc, argv);
        try {
            o.server = parse_url(url_text);
        } catch (const std::invalid_argument& e) {
            throw CLI::ValidationError{"URL", e.what()};
        }
        if (!command.empty()) o.command = parse_command(command);
        check_combination(o);
    } catch (const CLI::ParseError& e) {
        exit_code = app.exit(e);
        return std::nullopt;
    }
    return o;
}

}  // namespace bench
