// The roles of bare_sockets with kephas: kephas_sockets sink|echo|send ADDRESS, with the same output.
// A server may have several addresses.
#include <kephas/net/connect.hpp>
#include <kephas/net/connect_datagram.hpp>
#include <kephas/net/datagram_server.hpp>
#include <kephas/net/stream_server.hpp>

#include <CLI/CLI.hpp>

#include <asio/co_spawn.hpp>
#include <asio/io_context.hpp>

#include <sys/resource.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace {

using namespace std::chrono_literals;

struct options {
    std::string role;
    std::vector<std::string> where;
    double seconds = 1;
    std::size_t size = 64;
    std::size_t batch = 32;
    std::string certificate;
    std::string key;
};

void say(std::string_view text) {
    std::printf("%.*s\n", static_cast<int>(text.size()), text.data());
    std::fflush(stdout);
}

constexpr std::size_t block_size = 64 * 1024;


asio::awaitable<void> sink_stream(kephas::connection& client) {
    std::vector<std::byte> buffer(block_size);
    while (co_await client.read_some(buffer) > 0) {
    }
}

asio::awaitable<void> echo_stream(kephas::connection& client) {
    std::array<std::byte, 512> buffer;
    while (const std::size_t size = co_await client.read_some(buffer)) co_await client.write(kephas::bytes_view{buffer}.first(size));
}

asio::awaitable<void> sink_datagrams(kephas::datagram_socket& socket) {
    std::uint64_t received = 0;
    for (;;) {
        const auto batch = co_await socket.receive_batch();
        if (batch.empty()) co_return;
        for (const kephas::datagram_view& each : batch) {
            if (each.bytes.size() == 1) {  // a question
                const std::string answer = std::to_string(received);
                co_await socket.send(answer, each.sender());
            } else {
                received += each.bytes.size();
            }
        }
    }
}

asio::awaitable<void> echo_datagrams(kephas::datagram_socket& socket) {
    while (const auto datagram = co_await socket.receive()) co_await socket.send(datagram->bytes, datagram->sender());
}

void serve(const options& chosen, const kephas::address& where) {
    const bool echo = chosen.role == "echo";
    std::unique_ptr<kephas::socket_server> server;
    if (kephas::is_datagram(where.kind)) {
        kephas::datagram_server_options settings;
        settings.on_message = say;
        settings.socket.batch = chosen.batch;
        server = std::make_unique<kephas::datagram_server>(where, echo ? echo_datagrams : sink_datagrams, settings);
    } else {
        kephas::stream_server_options settings;
        settings.on_message = say;
        if (where.tls) settings.tls.certificates = {{kephas::pem_file(chosen.certificate), kephas::pem_file(chosen.key)}};
        server = std::make_unique<kephas::stream_server>(where, echo ? echo_stream : sink_stream, settings);
    }
    (void)server->run();
}

double seconds_since(kephas::time_point begin) { return std::chrono::duration<double>(kephas::clock::now() - begin).count(); }

void print_delivered(std::uint64_t bytes, double seconds) {
    std::printf("{\"bytes\":%llu,\"seconds\":%.6f}\n", static_cast<unsigned long long>(bytes), seconds);
}

asio::awaitable<void> send_stream(options chosen, kephas::address where) {
    kephas::connect_options settings;
    if (where.tls) {
        kephas::tls_client_options trust;
        trust.ca = kephas::pem_file(chosen.certificate);
        settings.tls = std::make_shared<const kephas::tls_client_context>(trust);
    }
    const kephas::time_point deadline = kephas::clock::now() + 10s;
    const auto server = co_await kephas::connect(where, deadline, settings);
    const std::vector<std::byte> bytes(chosen.size, std::byte{'x'});
    const kephas::time_point begin = kephas::clock::now();
    std::uint64_t sent = 0;
    while (seconds_since(begin) < chosen.seconds) {
        co_await server->write(bytes);
        sent += bytes.size();
    }
    server->shutdown_write();
    std::array<std::byte, 64> rest;
    while (co_await server->read_some(rest) > 0) {
    }
    print_delivered(sent, seconds_since(begin));
}

asio::awaitable<std::uint64_t> ask(kephas::datagram_socket& server) {
    for (;;) {
        co_await server.send("?");
        try {
            const kephas::time_point deadline = kephas::clock::now() + 100ms;
            const auto answer = co_await server.receive(deadline);
            co_return std::stoull(std::string{kephas::as_text(answer->bytes)});
        } catch (const kephas::error& failure) {
            if (failure.code() != kephas::errc::timed_out) throw;
        }
    }
}

asio::awaitable<void> send_datagrams(options chosen, kephas::address where) {
    const kephas::time_point deadline = kephas::clock::now() + 10s;
    kephas::datagram_socket_options settings;
    settings.batch = chosen.batch;
    const auto server = co_await kephas::connect_datagram(where, deadline, settings);
    const std::vector<std::byte> bytes(chosen.size, std::byte{'x'});
    const std::uint64_t before = co_await ask(*server);
    const kephas::time_point begin = kephas::clock::now();
    while (seconds_since(begin) < chosen.seconds) {
        while (server->try_send(bytes)) {
        }
        co_await server->flush();
    }
    const double seconds = seconds_since(begin);
    const std::uint64_t after = co_await ask(*server);
    print_delivered(after - before, seconds);
}

void send(const options& chosen, const kephas::address& where) {
    asio::io_context context{1};
    std::exception_ptr failure;
    auto task = kephas::is_datagram(where.kind) ? send_datagrams(chosen, where) : send_stream(chosen, where);
    asio::co_spawn(context, std::move(task), [&](std::exception_ptr thrown) { failure = std::move(thrown); });
    context.run();
    if (failure) std::rethrow_exception(failure);
}

}  // namespace

int main(int argc, char** argv) {
    rlimit files{};
    ::getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &files);
    options chosen;
    CLI::App app{"Sockets with kephas"};
    app.add_option("role", chosen.role)->required()->check(CLI::IsMember({"sink", "echo", "send"}));
    app.add_option("address", chosen.where)->required();
    app.add_option("--seconds", chosen.seconds);
    app.add_option("--size", chosen.size, "bytes of each write or datagram")->check(CLI::Range(2, 1 << 20));
    app.add_option("--batch", chosen.batch, "datagrams for each system call")->check(CLI::Range(1, 1024));
    app.add_option("--tls-cert", chosen.certificate);
    app.add_option("--tls-key", chosen.key);
    CLI11_PARSE(app, argc, argv);
    try {
        if (chosen.role == "send") {
            send(chosen, kephas::address::parse(chosen.where.front()));
            return 0;
        }
        std::vector<std::thread> servers;  // a thread for each address but the first
        for (std::size_t i = 1; i < chosen.where.size(); ++i) {
            servers.emplace_back([&chosen, where = kephas::address::parse(chosen.where[i])] { serve(chosen, where); });
        }
        serve(chosen, kephas::address::parse(chosen.where.front()));
        for (std::thread& each : servers) each.join();
        return 0;
    } catch (const std::exception& failure) {
        std::fprintf(stderr, "kephas_sockets: %s\n", failure.what());
        return 1;
    }
}
