// The server that benchmarks and conformance suites talk to: an echo on 127.0.0.1, or a sender to everybody; any
// origin, no rate limits.
#include <kephas/kephas.hpp>

#include <CLI/CLI.hpp>
#include <sys/resource.h>

#include <cstdio>
#include <exception>
#include <map>
#include <optional>
#include <string>

namespace {

constexpr kephas::command_id echo_command{0x0100};

asio::awaitable<std::optional<kephas::payload>> echo(kephas::request request) {
    co_return kephas::payload{request.share()};
}

asio::awaitable<double> add(double a, double b) { co_return a + b; }

asio::awaitable<std::optional<kephas::payload>> broadcast(kephas::request request) {
    const kephas::client from = request.client();
    const kephas::broadcast_options to_others{.except = {from.id()}};
    co_await from.clients().broadcast(*request.command(), kephas::payload{request.share()}, to_others);
    co_return std::nullopt;
}

/// As many descriptors as the process may have: a connection takes one. Beyond that the server answers 503.
void raise_open_files() {
    rlimit files{};
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
}

}  // namespace

int main(int argc, char** argv) {
    std::uint16_t port = 0;
    unsigned io_threads = 1;
    unsigned pool_threads = 1;
    std::optional<kephas::dispatch> policy;
    bool raw = false;
    bool to_others = false;
    std::string certificate;
    std::string key;
    bool deflate = false;
    const std::map<std::string, kephas::dispatch> policies{{"pool", kephas::dispatch::pool},
                                                           {"serial", kephas::dispatch::serial},
                                                           {"on_strand", kephas::dispatch::on_strand}};
    CLI::App app{"kephas-echo: echoes the payload of command 0x0100 and answers calls of math.add, or with --raw echoes every message"};
    app.add_option("--port", port, "TCP port on 127.0.0.1; 0 takes a free one")->required();
    app.add_option("--io-threads", io_threads, "threads that read and write; 0: one per core")->capture_default_str();
    app.add_option("--pool-threads", pool_threads, "threads that run handlers; 0: one per core")->capture_default_str();
    app.add_option("--dispatch", policy, "where the handler runs: pool unless --raw, which keeps the order")
        ->transform(CLI::CheckedTransformer(policies));
    auto* as_it_came = app.add_flag("--raw", raw, "echo every message as it came, text as text, up to 32 MiB");
    app.add_flag("--broadcast", to_others, "send the command to all other clients, and no reply")->excludes(as_it_came);
    auto* with_certificate = app.add_option("--tls-cert", certificate, "PEM file of a certificate and its chain: wss instead of ws");
    auto* with_key = app.add_option("--tls-key", key, "PEM file of its private key");
    with_certificate->needs(with_key);
    with_key->needs(with_certificate);
    app.add_flag("--deflate", deflate,
                 "agree on permessage-deflate with any parameters, context takeover included, and compress every message");
    CLI11_PARSE(app, argc, argv);

    kephas::router routes;
    if (raw) {
        routes.raw(policy.value_or(kephas::dispatch::on_strand), echo);
    } else {
        routes.rpc("math.add", {"a", "b"}, policy.value_or(kephas::dispatch::pool), add);
        routes.on(echo_command, policy.value_or(kephas::dispatch::pool), to_others ? broadcast : echo);
    }

    kephas::server_options options;
    options.listen = {(certificate.empty() ? "ws" : "wss") + ("://127.0.0.1:" + std::to_string(port)) + "/ws"};
    if (!certificate.empty()) options.tls.certificates = {{kephas::pem_file(certificate), kephas::pem_file(key)}};
    options.origins = kephas::any_origin();
    options.rate_limit = kephas::no_rate_limit();
    options.control_rate_limit = kephas::no_rate_limit();
    options.io_threads = io_threads;
    options.pool_threads = pool_threads;
    if (deflate) {
        options.deflate = {.enabled = true, .server_context_takeover = true, .client_context_takeover = true};
        options.deflate.threshold = 0;
    }
    if (raw) {
        constexpr std::size_t limit = 32 * 1024 * 1024;
        options.max_binary_payload = limit;
        options.max_text_message = limit;
        options.max_fragments = limit / 32;
    }
    options.log = kephas::logger{kephas::log_level::warning, kephas::stderr_sink()};
    raise_open_files();
    try {
        kephas::server server{std::move(routes), options};
        server.listen();
        std::printf("listening on 127.0.0.1:%u\n", static_cast<unsigned>(server.port()));
        std::fflush(stdout);
        server.run();
        return 0;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "kephas-echo: %s\n", error.what());
        return 1;
    }
}
