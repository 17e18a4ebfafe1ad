// Everything before the 101, and what is answered instead of it.
#include <support/running_server.hpp>
#include <support/temporary_folder.hpp>
#include <support/test_client.hpp>

#include <doctest/doctest.h>

#include <asio/redirect_error.hpp>
#include <asio/steady_timer.hpp>
#include <asio/use_awaitable.hpp>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <future>

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

using namespace kephas;
using namespace kephas::test;
using namespace std::chrono_literals;

namespace {

asio::awaitable<std::optional<payload>> echo(request req) { co_return payload{req.share()}; }

server_options options_with(auto change) {
    server_options options = quiet_options();
    change(options);
    return options;
}

std::string body_of(const std::string& response) { return response.substr(response.find("\r\n\r\n") + 4); }
bool has_line(const std::string& response, const std::string& line) {
    return response.find("\r\n" + line + "\r\n") != std::string::npos;
}
std::string status_of(const std::string& response) { return response.substr(9, 3); }

/// The status of an opening handshake with these headers.
std::string handshake_status(std::uint16_t port, std::string_view headers, std::string_view target = "/ws") {
    test_client client{port};
    return status_of(client.handshake(target, headers));
}

std::uint16_t port_of_endpoint(const std::string& endpoint) {
    return static_cast<std::uint16_t>(std::stoul(endpoint.substr(endpoint.rfind(':') + 1)));
}

const std::string upgrade_headers =
    "Host: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";

}  // namespace

TEST_CASE("GET /ready answers while the server serves") {
    running_server server{router{}};
    const std::string answer = http_get(server.port(), "/ready");
    CHECK(answer.starts_with("HTTP/1.1 200 "));
    CHECK(answer.ends_with(R"({"status":"ready"})"));
}

TEST_CASE("GET /health answers on the WebSocket port and on an http one, HEAD without the body") {
    running_server server{router{}, options_with([](server_options& o) {
                              o.listen = {"ws://127.0.0.1:0/ws", "http://127.0.0.1:0"};
                          })};
    for (const std::string& endpoint : server->endpoints()) {
        const std::uint16_t port = port_of_endpoint(endpoint);
        const std::string response = http_get(port, "/health");
        CHECK(status_of(response) == "200");
        CHECK(has_line(response, "Content-Type: application/json"));
        CHECK(has_line(response, "Content-Length: 15"));
        CHECK(has_line(response, "Connection: close"));
        CHECK(body_of(response) == R"({"status":"ok"})");
        CHECK(status_of(http_get(port, "/health?verbose=1")) == "200");

        const std::string head = http_request(port, "HEAD /health HTTP/1.1\r\nHost: localhost\r\n\r\n");
        CHECK(status_of(head) == "200");
        CHECK(has_line(head, "Content-Length: 15"));
        CHECK(body_of(head).empty());
    }
}

TEST_CASE("other paths are 404, other methods 405") {
    running_server server{router{}, options_with([](server_options& o) {
                              o.listen = {"ws://127.0.0.1:0/ws", "http://127.0.0.1:0"};
                          })};
    for (const std::string& endpoint : server->endpoints()) {
        const std::uint16_t port = port_of_endpoint(endpoint);
        CHECK(status_of(http_get(port, "/")) == "404");
        CHECK(status_of(http_get(port, "/wsx")) == "404");
        CHECK(handshake_status(port, "", "/other") == "404");
        const std::string post =
            http_request(port, "POST /health HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nbody");
        CHECK(status_of(post) == "405");
        CHECK(has_line(post, "Allow: GET, HEAD"));
    }
    CHECK(status_of(http_request(server.port(), "DELETE /ws HTTP/1.1\r\nHost: localhost\r\n\r\n")) == "405");
    // the http port has no WebSocket endpoint
    CHECK(handshake_status(port_of_endpoint(server->endpoints()[1]), "") == "404");
}

TEST_CASE("a refused request with a large body gets its answer, not a reset") {
    running_server server{router{}};
    for (int i = 0; i < 20; ++i) {
        test_client client{server.port()};
        client.send_raw("POST /upload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 300000\r\n\r\n" +
                        std::string(300'000, 'b'));
        const std::string response = client.read_head();
        CHECK(status_of(response) == "405");
        CHECK_NOTHROW(client.read_to_end());
    }
}

TEST_CASE("a plain GET of the WebSocket path is 426 and says which version is spoken") {
    running_server server{router{}};
    const std::string response = http_get(server.port(), "/ws");
    CHECK(status_of(response) == "426");
    CHECK(has_line(response, "Sec-WebSocket-Version: 13"));
    CHECK(has_line(response, "Upgrade: websocket"));
    const std::string old = http_request(server.port(),
                                         "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: "
                                         "Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                                         "Sec-WebSocket-Version: 8\r\n\r\n");
    CHECK(status_of(old) == "426");
    CHECK(has_line(old, "Sec-WebSocket-Version: 13"));
}

TEST_CASE("malformed requests are 400") {
    running_server server{router{}};
    const auto status = [&](std::string_view request) { return status_of(http_request(server.port(), request)); };
    CHECK(status("hello\r\n\r\n") == "400");
    CHECK(status("GET /ws HTTP/1.1\r\n\r\n") == "400");                                // no Host
    CHECK(status("GET /ws HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n") == "400");          // two of them
    CHECK(status("GET /ws HTTP/1.1\r\nHost : a\r\n\r\n") == "400");                    // a blank before the colon
    CHECK(status("GET /ws HTTP/1.1\r\nHost: a\r\n X: folded\r\n\r\n") == "400");
    CHECK(status("GET ws HTTP/1.1\r\nHost: a\r\n\r\n") == "400");
    CHECK(status("GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n") == "400");
    CHECK(status("GET /%00 HTTP/1.1\r\nHost: a\r\n\r\n") == "400");
    CHECK(status("GET /health HTTP/1.0\r\nHost: a\r\n\r\n") == "505");
    CHECK(status("GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                 "Sec-WebSocket-Key: short\r\nSec-WebSocket-Version: 13\r\n\r\n") == "400");
    CHECK(status("GET /ws HTTP/1.1\r\nContent-Length: 3\r\n" + upgrade_headers + "\r\nabc") == "400");
    CHECK(eventually([&] { return server->stats().refused == 11; }));
}

TEST_CASE("a head that is too long is 431, and the limit can be set") {
    running_server server{router{}, options_with([](server_options& o) { o.max_head = 500; })};
    const std::string padding = "X-Padding: " + std::string(500, 'x') + "\r\n";
    CHECK(handshake_status(server.port(), padding) == "431");
    CHECK(handshake_status(server.port(), "X-Padding: short\r\n") == "101");
    running_server normal{router{}};
    CHECK(handshake_status(normal.port(), "X-Padding: " + std::string(14'000, 'x') + "\r\n") == "101");
    CHECK(handshake_status(normal.port(), "X-Padding: " + std::string(15'000, 'x') + "\r\n") == "431");
}

TEST_CASE("files of the folder are served by an http listener with their types") {
    const temporary_folder folder;
    folder.write("index.html", "<h1>chat</h1>");
    folder.write("kephas-client.js", "// js");
    folder.write("kephas-client.mjs", "// mjs");
    folder.write("style.css", "a{}");
    folder.write("sub/index.html", "sub");
    folder.write("sub/data.json", "{}");
    folder.write("unknown.xyz", "?");
    folder.write("with space.txt", "text");
    running_server server{router{}, options_with([&](server_options& o) {
                              o.listen = {"http://127.0.0.1:0", "ws://127.0.0.1:0/ws"};
                              o.files = folder.path();
                          })};
    const auto expect = [&](std::string_view target, std::string_view type, std::string_view body) {
        CAPTURE(target);
        const std::string response = http_get(server.port(), target);
        CHECK(status_of(response) == "200");
        CHECK(has_line(response, "Content-Type: " + std::string{type}));
        CHECK(has_line(response, "X-Content-Type-Options: nosniff"));
        CHECK(body_of(response) == body);
    };
    expect("/", "text/html; charset=utf-8", "<h1>chat</h1>");
    expect("/index.html?v=1", "text/html; charset=utf-8", "<h1>chat</h1>");
    expect("/kephas-client.js", "text/javascript; charset=utf-8", "// js");
    expect("/kephas-client.mjs", "text/javascript; charset=utf-8", "// mjs");
    expect("/style.css", "text/css; charset=utf-8", "a{}");
    expect("/sub/", "text/html; charset=utf-8", "sub");
    expect("/sub/data.json", "application/json", "{}");
    expect("/unknown.xyz", "application/octet-stream", "?");
    expect("/with%20space.txt", "text/plain; charset=utf-8", "text");
    CHECK(status_of(http_get(server.port(), "/sub")) == "404");
    CHECK(status_of(http_get(server.port(), "/missing.html")) == "404");
    const std::string head = http_request(server.port(), "HEAD /style.css HTTP/1.1\r\nHost: localhost\r\n\r\n");
    CHECK(has_line(head, "Content-Length: 3"));
    CHECK(body_of(head).empty());
    // a WebSocket listener serves none
    CHECK(status_of(http_get(port_of_endpoint(server->endpoints()[1]), "/index.html")) == "404");
}

TEST_CASE("nothing outside the folder, and nothing hidden, is served") {
    const temporary_folder outside;
    outside.write("secret.txt", "secret");
    outside.write("public/index.html", "public");
    outside.write("public/.hidden", "secret");
    outside.write("public/.git/config", "secret");
    outside.write("public-not/secret.txt", "secret");
    std::filesystem::create_symlink(outside / "secret.txt", outside / "public/link.txt");
    std::filesystem::create_directory_symlink(outside.path(), outside / "public/up");
    std::filesystem::create_symlink("index.html", outside / "public/inside.html");
    REQUIRE(::mkfifo((outside / "public/fifo").c_str(), 0600) == 0);
    running_server server{router{}, options_with([&](server_options& o) {
                              o.listen = {"http://127.0.0.1:0"};
                              o.files = outside / "public";
                          })};
    for (const char* target :
         {"/../secret.txt", "/%2e%2e/secret.txt", "/..%2fsecret.txt", "/%2e%2e%2fsecret.txt", "/./../secret.txt",
          "/link.txt", "/up/secret.txt", "/.hidden", "/%2ehidden", "/.git/config", "//secret.txt", "/..\\secret.txt",
          "/%5c..%5csecret.txt", "/../public-not/secret.txt", "/fifo", "/index.html/../../secret.txt"}) {
        CAPTURE(target);
        const std::string response = http_get(server.port(), target);
        CHECK(response.find("secret\n") == std::string::npos);
        CHECK((status_of(response) == "404" || status_of(response) == "400"));
        CHECK(body_of(response).find("secret") == std::string::npos);
    }
    CHECK(body_of(http_get(server.port(), "/inside.html")) == "public");  // a link inside is fine
}

TEST_CASE("a large file arrives whole, also at a client that takes longer than the handshake may") {
    const temporary_folder folder;
    std::string content;
    content.reserve(8'000'000);
    while (content.size() < 8'000'000) content += std::to_string(content.size()) + ' ';
    folder.write("large.bin", content);
    running_server server{router{}, options_with([&](server_options& o) {
                              o.listen = {"http://127.0.0.1:0"};
                              o.files = folder.path();
                              o.handshake_timeout = 150ms;
                          })};
    CHECK(body_of(http_get(server.port(), "/large.bin")) == content);
    test_client slow{server.port(), 4'096};
    slow.send_raw("GET /large.bin HTTP/1.1\r\nHost: localhost\r\n\r\n");
    slow.read_head();
    std::this_thread::sleep_for(400ms);  // a slow reader
    CHECK(slow.read_to_end() == content);
}

TEST_CASE("a page of another origin is refused with 403 by default") {
    log_lines log;
    running_server server{router{}, options_with([&](server_options& o) { o.log = log.as_logger(); })};
    const std::uint16_t port = server.port();
    const auto status = [&](const std::string& origin) { return handshake_status(port, "Origin: " + origin + "\r\n"); };
    CHECK(handshake_status(port, "") == "101");  // no Origin: not a browser
    CHECK(status("http://localhost") == "101");  // the test client's Host is "localhost"
    CHECK(status("http://localhost:3000") == "403");
    CHECK(status("https://evil.example") == "403");
    CHECK(status("null") == "403");
    CHECK(log.wait_for("refused an origin: https://evil.example remote_addr=127.0.0.1:"));
    test_client client{port};
    CHECK(status_of(client.handshake("/ws", "Origin: http://evil.example/\r\n")) == "403");
}

TEST_CASE("origin policies: a list, the same host, any") {
    const auto statuses = [](origin_policy policy, const std::vector<std::string>& origins) {
        running_server server{router{}, options_with([&](server_options& o) { o.origins = std::move(policy); })};
        std::vector<std::string> all;
        for (const auto& origin : origins) {
            all.push_back(handshake_status(server.port(), "Origin: " + origin + "\r\n"));
        }
        all.push_back(handshake_status(server.port(), ""));
        return all;
    };
    using list = std::vector<std::string>;
    CHECK(statuses(allow_origins({"https://yourdomain.com", "https://*.example.com"}),
                   {"https://yourdomain.com", "http://yourdomain.com", "https://www.yourdomain.com",
                    "https://a.example.com", "http://localhost"}) == list{"101", "403", "403", "101", "403", "101"});
    CHECK(statuses(same_host(), {"http://localhost:3000", "http://other:3000"}) == list{"101", "403", "101"});
    CHECK(statuses(any_origin(), {"https://evil.example", "null"}) == list{"101", "101", "101"});
    CHECK(statuses(allow_origin_if([](const http::request& request) {
                       return request.header("origin") == "app://mine";
                   }),
                   {"app://mine", "app://other"}) == list{"101", "403", "403"});
    CHECK_THROWS_AS((void)allow_origins({"yourdomain.com"}), std::invalid_argument);
}

TEST_CASE("letting every page in is worth a warning at the start") {
    log_lines log;
    running_server server{router{}, options_with([&](server_options& o) {
                              o.origins = any_origin();
                              o.log = log.as_logger(log_level::warning);
                          })};
    CHECK(log.wait_for("any web page may connect"));
}

TEST_CASE("authorize lets in, with an identity, whom it knows, and refuses with any answer") {
    std::promise<std::string> identity;
    router routes;
    routes.authorize([](http::request request) -> asio::awaitable<authorization> {
        asio::steady_timer pause{co_await asio::this_coro::executor, 5ms};
        co_await pause.async_wait(asio::use_awaitable);  // asks somebody else
        const auto token = request.query("token");
        if (token == "good") co_return authorization::accept("ada");
        if (token == "teapot") {
            http::response response = http::json_response(http::status_code::too_many_requests, R"({"wait":5})");
            response.headers.push_back({"Retry-After", "5"});
            co_return authorization::refuse(std::move(response));
        }
        if (token == "throws") throw std::runtime_error{"the token store is down"};
        co_return authorization::refuse(http::status_code::unauthorized, "no token\n");
    });
    routes.on_connect([&](client who) -> asio::awaitable<void> {
        identity.set_value(who.identity());
        co_return;
    });
    log_lines log;
    running_server server{std::move(routes), options_with([&](server_options& o) { o.log = log.as_logger(); })};
    {
        auto client = test_client::open(server.port(), "/ws?token=good");
        CHECK(identity.get_future().get() == "ada");
    }
    const auto refused = [&](std::string_view target) {
        test_client client{server.port()};
        std::string response = client.handshake(target);
        return response + client.read_to_end();
    };
    const std::string unauthorized = refused("/ws");
    CHECK(status_of(unauthorized) == "401");
    CHECK(body_of(unauthorized) == "no token\n");
    const std::string busy = refused("/ws?token=teapot");
    CHECK(status_of(busy) == "429");
    CHECK(has_line(busy, "Retry-After: 5"));
    CHECK(has_line(busy, "Content-Type: application/json"));
    CHECK(body_of(busy) == R"({"wait":5})");
    const std::string broken = refused("/ws?token=throws");
    CHECK(status_of(broken) == "500");
    CHECK(broken.find("token store") == std::string::npos);
    CHECK(log.wait_for("the token store is down"));
    CHECK(server->stats().opened == 1);
}

TEST_CASE("authorize is cancelled when the client leaves") {
    std::promise<void> started;
    std::promise<bool> cancelled;
    router routes;
    routes.authorize([&](http::request) -> asio::awaitable<authorization> {
        started.set_value();
        asio::steady_timer pause{co_await asio::this_coro::executor, 5s};
        std::error_code ec;
        co_await pause.async_wait(asio::redirect_error(asio::use_awaitable, ec));
        cancelled.set_value(ec == asio::error::operation_aborted);
        co_return authorization::accept();
    });
    running_server server{std::move(routes)};
    test_client client{server.port()};
    client.send_raw("GET /ws HTTP/1.1\r\n" + upgrade_headers + "\r\n");
    started.get_future().wait();
    client.reset();
    auto outcome = cancelled.get_future();
    REQUIRE(outcome.wait_for(3s) == std::future_status::ready);
    CHECK(outcome.get());
    CHECK(server->stats().opened == 0);
}

TEST_CASE("authorize is cancelled by the handshake timeout") {
    std::promise<bool> cancelled;
    router routes;
    routes.authorize([&](http::request) -> asio::awaitable<authorization> {
        asio::steady_timer pause{co_await asio::this_coro::executor, 20s};
        std::error_code ec;
        co_await pause.async_wait(asio::redirect_error(asio::use_awaitable, ec));
        cancelled.set_value(ec == asio::error::operation_aborted);
        co_return authorization::accept();
    });
    running_server server{std::move(routes), options_with([](server_options& o) { o.handshake_timeout = 100ms; })};
    test_client client{server.port()};
    client.send_raw("GET /ws HTTP/1.1\r\n" + upgrade_headers + "\r\n");
    CHECK(client.ends_cleanly());
    CHECK(cancelled.get_future().get());
    CHECK(server->stats().handshake_timeouts == 1);
    CHECK(server->stats().opened == 0);
}

TEST_CASE("the first subprotocol of the client's that the server speaks is selected") {
    std::mutex mutex;
    std::string selected;
    router routes;
    routes.on_connect([&](client who) -> asio::awaitable<void> {
        const std::lock_guard lock{mutex};
        selected = who.subprotocol();
        co_return;
    });
    running_server server{std::move(routes), options_with([](server_options& o) { o.subprotocols = {"v1", "v2"}; })};
    const auto offered = [&](std::string_view header) {
        test_client client{server.port()};
        std::string head = client.handshake("/ws", header);
        client.send_frame(9, "");
        client.read_frame();  // on_connect has returned
        return head;
    };
    CHECK(has_line(offered("Sec-WebSocket-Protocol: v3, v2\r\n"), "Sec-WebSocket-Protocol: v2"));
    CHECK(selected == "v2");
    CHECK(offered("Sec-WebSocket-Protocol: v3\r\n").find("Sec-WebSocket-Protocol") == std::string::npos);
    CHECK(selected.empty());
    CHECK(offered("").find("Sec-WebSocket-Protocol") == std::string::npos);
    CHECK(handshake_status(server.port(), "Sec-WebSocket-Protocol: v1, v1\r\n") == "400");
}

TEST_CASE("on_connect sees every header, later only those that are kept; the query stays") {
    std::promise<std::vector<std::string>> early;
    router routes;
    routes.on_connect([&](client who) -> asio::awaitable<void> {
        early.set_value({who.header("user-agent").value_or("none"), who.header("X-Tenant").value_or("none"),
                         who.query("room").value_or("none")});
        co_return;
    });
    routes.on(command_id{1}, [](request req) -> asio::awaitable<std::optional<payload>> {
        const kephas::client who = req.client();
        co_return payload{who.header("user-agent").value_or("none") + "|" + who.header("X-Tenant").value_or("none") +
                          "|" + who.query("room").value_or("none") + "|" + who.query("nothing").value_or("none")};
    });
    running_server server{std::move(routes), options_with([](server_options& o) { o.keep_headers = {"x-tenant"}; })};
    auto client = test_client::open(server.port(), "/ws?room=a%20b&x=1", "User-Agent: test\r\nX-Tenant: acme\r\n");
    CHECK(early.get_future().get() == std::vector<std::string>{"test", "acme", "a b"});
    client.send_command(1, "");
    CHECK(client.read_command(1) == "none|acme|a b|none");
}

TEST_CASE("bytes behind the handshake are not lost, however long authorize takes") {
    router routes;
    routes.authorize([](http::request) -> asio::awaitable<authorization> {
        asio::steady_timer pause{co_await asio::this_coro::executor, 20ms};
        co_await pause.async_wait(asio::use_awaitable);
        co_return authorization::accept();
    });
    routes.on(command_id{1}, dispatch::serial, echo);
    running_server server{std::move(routes)};
    test_client client{server.port()};
    client.send_raw("GET /ws HTTP/1.1\r\n" + upgrade_headers + "\r\n" +
                    test_client::frame(2, test_client::command(1, "first")) +
                    test_client::frame(2, test_client::command(1, "second")).substr(0, 7));
    CHECK(status_of(client.read_head()) == "101");
    CHECK(client.read_command(1) == "first");
    client.send_raw(test_client::frame(2, test_client::command(1, "second")).substr(7));
    CHECK(client.read_command(1) == "second");
}

TEST_CASE("a Unix socket serves like a port, and its file has the mode 0770") {
    const temporary_folder folder;
    const std::string file = (folder / "app.sock").string();
    std::promise<std::string> address;
    router routes;
    routes.on_connect([&](client who) -> asio::awaitable<void> {
        address.set_value(who.remote_address());
        co_return;
    });
    routes.on(command_id{1}, echo);
    const server_options options = options_with([&](server_options& o) { o.listen = {"unix://" + file}; });
    {
        running_server server{std::move(routes), options};
        CHECK(server.port() == 0);
        CHECK(server->endpoints() == std::vector<std::string>{file});
        struct stat info{};
        REQUIRE(::stat(file.c_str(), &info) == 0);
        CHECK(S_ISSOCK(info.st_mode));
        CHECK((info.st_mode & 0777) == 0770);
        test_client client{file};
        CHECK(status_of(client.handshake()) == "101");
        client.send_command(1, "through a file");
        CHECK(client.read_command(1) == "through a file");
        CHECK(address.get_future().get() == "unix");

        kephas::server second{router{}, options};
        try {
            second.listen();
            FAIL("the address is in use");
        } catch (const error& failure) {
            CHECK(failure.code() == errc::address_in_use);
            CHECK(std::string_view{failure.what()}.find(file) != std::string_view::npos);
        }
        test_client still{file};
        CHECK(status_of(still.handshake("/health")) == "200");
    }
    CHECK_FALSE(std::filesystem::exists(file));  // removed at the end
}

TEST_CASE("the mode of a Unix socket does not depend on the umask") {
    const temporary_folder folder;
    const std::string file = (folder / "app.sock").string();
    const mode_t before = ::umask(0077);
    kephas::server server{router{}, options_with([&](server_options& o) { o.listen = {"unix://" + file}; })};
    server.listen();
    ::umask(before);
    struct stat info{};
    REQUIRE(::stat(file.c_str(), &info) == 0);
    CHECK((info.st_mode & 0777) == 0770);
}

TEST_CASE("a stale socket file is replaced, any other file is not touched") {
    const temporary_folder folder;
    const std::string stale = (folder / "stale.sock").string();
    {
        const int fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        std::snprintf(address.sun_path, sizeof(address.sun_path), "%s", stale.c_str());
        REQUIRE(::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0);
        ::close(fd);  // the file stays
    }
    {
        running_server server{router{}, options_with([&](server_options& o) { o.listen = {"unix://" + stale}; })};
        test_client client{stale};
        CHECK(status_of(client.handshake()) == "101");
    }
    folder.write("data", "precious");
    const std::string data = (folder / "data").string();
    kephas::server refused{router{}, options_with([&](server_options& o) { o.listen = {"unix://" + data}; })};
    CHECK_THROWS_AS(refused.listen(), error);
    std::ifstream in{data};
    std::string content;
    in >> content;
    CHECK(content == "precious");
}

TEST_CASE("port 0 takes a free port, and the log tells which") {
    log_lines log;
    running_server server{router{}, options_with([&](server_options& o) {
                              o.listen = {"ws://127.0.0.1:0/socket", "http://127.0.0.1:0"};
                              o.log = log.as_logger();
                          })};
    const auto endpoints = server->endpoints();
    REQUIRE(endpoints.size() == 2);
    CHECK(server.port() != 0);
    CHECK(endpoints[0] == "127.0.0.1:" + std::to_string(server.port()));
    CHECK(endpoints[1] != endpoints[0]);
    CHECK(log.wait_for("listening on ws://" + endpoints[0] + "/socket"));
    CHECK(log.wait_for("listening on http://" + endpoints[1]));
    CHECK(handshake_status(server.port(), "", "/socket") == "101");
    CHECK(handshake_status(server.port(), "", "/ws") == "404");
}

TEST_CASE("two listeners share one registry") {
    std::promise<std::size_t> seen;
    router routes;
    routes.on(command_id{1}, [&](request req) -> asio::awaitable<std::optional<payload>> {
        co_return payload{std::to_string(req.client().clients().size())};
    });
    running_server server{std::move(routes), options_with([](server_options& o) {
                              o.listen = {"ws://127.0.0.1:0/ws", "ws://127.0.0.1:0/"};
                              o.io_threads = 2;
                          })};
    auto one = test_client::open(server.port());
    auto two = test_client::open(port_of_endpoint(server->endpoints()[1]), "/");
    one.send_command(1, "");
    CHECK(one.read_command(1) == "2");
}

TEST_CASE("an IPv6 listener works where there is IPv6") {
    kephas::server server{router{}, options_with([](server_options& o) { o.listen = {"ws://[::1]:0/ws"}; })};
    try {
        server.listen();
    } catch (const error& failure) {
        MESSAGE("no IPv6 here: " << failure.what());
        return;
    }
    CHECK(server.endpoints()[0] == "[::1]:" + std::to_string(server.port()));
}

TEST_CASE("an address that is in use says so") {
    running_server first{router{}};
    const std::string taken = "127.0.0.1:" + std::to_string(first.port());
    kephas::server second{router{}, options_with([&](server_options& o) { o.listen = {"ws://" + taken + "/ws"}; })};
    try {
        second.listen();
        FAIL("the address is in use");
    } catch (const error& failure) {
        CHECK(failure.code() == errc::address_in_use);
        CHECK(std::string_view{failure.what()}.find(taken) != std::string_view::npos);
    }
    CHECK_THROWS_AS(second.run(), error);
}

TEST_CASE("invalid addresses are refused with the reason") {
    struct expectation {
        const char* address;
        const char* reason;
    };
    for (const auto& [address, reason] : std::vector<expectation>{
             {"127.0.0.1:8080", "expected ws[s]://HOST:PORT/PATH"},
             {"ftp://127.0.0.1:21", "the scheme is not ws, wss, http, https, tcp, tls, udp, unix or unixgram"},
             {"ws://127.0.0.1", "the port is missing"},
             {"ws://[::1]/ws", "the port is missing"},
             {"ws://127.0.0.1:70000/ws", "the port is not 0 to 65535"},
             {"ws://127.0.0.1:/ws", "the port is not 0 to 65535"},
             {"ws://127.0.0.1:80x/ws", "the port is not 0 to 65535"},
             {"ws://example.com:80/ws", "the host is not an IP address or localhost"},
             {"ws://:8080/ws", "the host is not an IP address or localhost"},
             {"http://127.0.0.1:80/path", "an http listener has no path"},
             {"unix://relative.sock", "the file of a Unix socket is an absolute path"},
         }) {
        CAPTURE(address);
        kephas::server server{router{}, options_with([&](server_options& o) { o.listen = {address}; })};
        try {
            server.listen();
            FAIL("accepted");
        } catch (const error& failure) {
            CHECK(failure.code() == errc::invalid_address);
            CHECK(std::string_view{failure.what()}.find(address) != std::string_view::npos);
            CHECK(std::string_view{failure.what()}.find(reason) != std::string_view::npos);
        }
    }
    kephas::server longest{router{}, options_with([&](server_options& o) {
                               o.listen = {"unix:///" + std::string(107, 'x')};
                           })};
    CHECK_THROWS_AS(longest.listen(), error);
}

TEST_CASE("a listener that cannot be bound leaves none of the others bound") {
    running_server first{router{}};
    const temporary_folder folder;
    const std::string file = (folder / "app.sock").string();
    kephas::server second{router{}, options_with([&](server_options& o) {
                              o.listen = {"unix://" + file,
                                          "ws://127.0.0.1:" + std::to_string(first.port()) + "/ws"};
                          })};
    CHECK_THROWS_AS(second.listen(), error);
    CHECK_FALSE(std::filesystem::exists(file));
}
