// The server of the stress tests: echoes under every dispatch policy, broadcasts, and counts its clients.
#include <kephas/kephas.hpp>

#include <cstdio>
#include <exception>
#include <memory>
#include <optional>
#include <string>

#include <sys/resource.h>

namespace {

using namespace kephas;

asio::awaitable<std::optional<payload>> echo(request req) { co_return payload{req.share()}; }

void raise_descriptor_limit() {
    rlimit files{};
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
}

}  // namespace

int main() {
    raise_descriptor_limit();
    router routes;
    routes.on(command_id{0x0100}, dispatch::pool, echo);
    routes.on(command_id{0x0101}, dispatch::serial, echo);
    routes.on(command_id{0x0102}, dispatch::on_strand, echo);
    const auto everybody = std::make_shared<clients>();
    // A broadcast answers with the number of clients that it was queued for.
    routes.on(command_id{0x0200}, dispatch::serial, [everybody](request req) -> asio::awaitable<std::optional<payload>> {
        const broadcast_report report = co_await everybody->broadcast(command_id{0x0201}, payload{req.share()});
        co_return payload{std::to_string(report.queued)};
    });
    routes.on(command_id{0x0202}, dispatch::on_strand, [everybody](request) -> asio::awaitable<std::optional<payload>> {
        co_return payload{std::to_string(everybody->size())};
    });
    routes.on_connect([](client who) -> asio::awaitable<void> {
        co_await who.send(command_id{0x0001}, payload{"welcome"});
    });

    server_options options;
    options.listen = {"ws://127.0.0.1:0/ws"};
    options.rate_limit = no_rate_limit();
    options.log = logger{log_level::warning, stderr_sink()};
    try {
        server server{std::move(routes), options};
        *everybody = server.clients();
        server.listen();
        std::printf("listening on 127.0.0.1:%u\n", static_cast<unsigned>(server.port()));
        std::fflush(stdout);
        const drain_report report = server.run();
        return report.cancelled == 0 && report.cut == 0 ? 0 : 2;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "stress-server: %s\n", error.what());
        return 1;
    }
}
