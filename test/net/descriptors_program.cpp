// A server in a process that may have few descriptors: descriptors_program LIMIT TOTAL. Prints its port, then its log.
#include <kephas/kephas.hpp>

#include <cstdio>
#include <cstdlib>

#include <sys/resource.h>

int main(int argc, char** argv) {
    if (argc != 3) return 2;
    const rlimit files{std::strtoul(argv[1], nullptr, 10), std::strtoul(argv[1], nullptr, 10)};
    if (::setrlimit(RLIMIT_NOFILE, &files) != 0) return 3;
    kephas::router routes;
    routes.on(kephas::command_id{1}, [](kephas::request req) -> asio::awaitable<std::optional<kephas::payload>> {
        co_return kephas::payload{req.share()};
    });
    kephas::server_options options;
    options.listen = {"ws://127.0.0.1:0/ws"};
    options.io_threads = options.pool_threads = 1;
    options.connections.total = std::strtoul(argv[2], nullptr, 10);
    options.log = kephas::logger{kephas::log_level::info, [](kephas::log_level, std::string_view line) {
                                     std::printf("%.*s\n", static_cast<int>(line.size()), line.data());
                                     std::fflush(stdout);
                                 }};
    kephas::server server{std::move(routes), options};
    server.listen();
    std::printf("port %u\n", static_cast<unsigned>(server.port()));
    std::fflush(stdout);
    server.run();
}
