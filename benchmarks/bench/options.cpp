#include "options.hpp"

#include <CLI/CLI.hpp>

#include <limits>

namespace bench {

std::optional<options> parse_options(int argc, char** argv, int& exit_code) {
    options o;
    std::string command;
    std::string opcode = "binary";
    CLI::App app{"Load generator for WebSocket echo servers on the loopback interface"};
    app.add_option("--port", o.port, "port of the server on 127.0.0.1")->required();
    app.add_option("--path", o.path, "path of the request")->capture_default_str();
    app.add_option("--connections", o.connections, "number of connections")
        ->capture_default_str()
        ->check(CLI::PositiveNumber);
    app.add_option("--in-flight", o.in_flight, "unanswered messages per connection")
        ->capture_default_str()
        ->check(CLI::PositiveNumber);
    app.add_option("--payload", o.payload, "bytes per message, without the command id")->capture_default_str();
    app.add_option("--command", command, "4-byte id in front of each payload, or 'none'; default: 0x0100 if binary");
    app.add_option("--opcode", opcode, "of the messages")
        ->check(CLI::IsMember({"binary", "text"}))
        ->capture_default_str();
    auto* messages = app.add_option("--messages", o.messages, "measure that many messages")->check(CLI::PositiveNumber);
    app.add_option("--seconds", o.seconds, "or measure for so long")
        ->capture_default_str()
        ->check(CLI::PositiveNumber)
        ->excludes(messages);
    app.add_flag("--unordered", o.unordered, "accept replies in any order (needs a payload of 8 bytes)");
    app.add_option("--server-pid", o.server_pid, "measure the CPU time and memory of this process");
    auto* idle = app.add_flag("--idle", o.idle, "only open the connections and report the memory of each");
    idle->needs("--server-pid");
    app.add_flag("--tls", o.tls, "over TLS, whatever certificate the server has")->needs(idle);
    app.add_flag("--json", o.json, "report as one line of JSON");
    try {
        app.parse(argc, argv);
        o.text = opcode == "text";
        if (command.empty() && !o.text) o.command = 0x0100;
        if (!command.empty() && command != "none") {
            std::size_t parsed = 0;
            const unsigned long long id = std::stoull(command, &parsed, 0);
            if (parsed != command.size() || id > std::numeric_limits<std::uint32_t>::max())
                throw CLI::ValidationError{"--command", "not a 32-bit number: " + command};
            o.command = static_cast<std::uint32_t>(id);
        }
        if (o.unordered && o.payload < 8) throw CLI::ValidationError{"--unordered", "needs a payload of 8 bytes"};
    } catch (const CLI::ParseError& e) {
        exit_code = app.exit(e);
        return std::nullopt;
    } catch (const std::exception&) {  // of stoull
        exit_code = app.exit(CLI::ValidationError{"--command", "not a number: " + command});
        return std::nullopt;
    }
    return o;
}

}  // namespace bench
