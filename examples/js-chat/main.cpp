// A chat: commands on WebSocket, the page over HTTP. What the commands mean stands at the top of chat.js.
#include "chat_room.hpp"

#include <CLI/CLI.hpp>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace {

using kephas::command_id;
using kephas::json;
using kephas::payload;
using reply = asio::awaitable<std::optional<payload>>;

constexpr command_id say{0x0001};
constexpr command_id user_joined{0x0003};
constexpr command_id user_left{0x0004};
constexpr command_id get_users{0x0005};
constexpr command_id users_list{0x0006};
constexpr command_id user_info{0x0008};

constexpr std::size_t longest_message = 2000;  // characters
constexpr std::size_t longest_name = 20;

payload as_payload(const json& value) { return payload{kephas::write_json(value)}; }

/// The number of characters, not bytes: UTF-8 was checked when the JSON was parsed.
std::size_t characters(std::string_view text) {
    return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

std::string trimmed(std::string_view text) {
    static constexpr std::string_view blank = " \t\r\n";
    const std::size_t first = text.find_first_not_of(blank);
    if (first == std::string_view::npos) return {};
    return std::string{text.substr(first, text.find_last_not_of(blank) - first + 1)};
}

json parse_object(const kephas::request& request) {
    auto parsed = kephas::parse_json(request.text());
    if (!parsed || !parsed->is_object()) throw kephas::request_error{"a JSON object is expected"};
    return std::move(*parsed);
}

std::string message_of(const json& said) {
    auto text = said["message"].as_string();
    if (!text) text = said["text"].as_string();
    if (!text || trimmed(*text).empty()) throw kephas::request_error{"a message needs some text"};
    if (characters(*text) > longest_message) throw kephas::request_error{"a message has at most 2000 characters"};
    return std::string{*text};
}

std::string name_of(const json& info) {
    const std::string name = trimmed(info["username"].as_string().value_or(""));
    if (name.empty()) throw kephas::request_error{"a name needs some text"};
    if (characters(name) > longest_name) throw kephas::request_error{"a name has at most 20 characters"};
    for (const char c : name) {
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) {
            throw kephas::request_error{"a name has no control characters"};
        }
    }
    return name;
}

kephas::router make_routes(const std::shared_ptr<chat::room>& room) {
    using kephas::dispatch;
    kephas::router routes;

    routes.on(say, dispatch::serial, [room](kephas::request request) -> reply {
        const chat::message said = room->say(request.client().id().to_string(), message_of(parse_object(request)));
        co_await request.client().clients().broadcast(say, as_payload(to_json(said)));
        co_return std::nullopt;
    });

    routes.on(user_info, dispatch::serial, [room](kephas::request request) -> reply {
        const kephas::client client = request.client();
        const auto [now, before, changed] = room->set_name(client.id().to_string(), name_of(parse_object(request)));
        co_await client.send(user_info, as_payload(to_json(now)));
        if (before) co_await client.clients().broadcast(user_left, as_payload(to_json(*before)));
        if (changed) co_await client.clients().broadcast(user_joined, as_payload(to_json(now)));
        co_return std::nullopt;
    });

    routes.on(get_users, dispatch::serial, [room](kephas::request request) -> reply {
        co_await request.client().send(users_list, as_payload(kephas::to_json(room->members())));
        co_return std::nullopt;
    });

    routes.rpc("chat.history", {"limit"}, dispatch::serial,
               [room](std::optional<std::uint32_t> limit) -> asio::awaitable<json> {
                   co_return kephas::to_json(room->history(limit.value_or(50)));
               });

    routes.on_disconnect([room](kephas::client client, kephas::close_info) -> asio::awaitable<void> {
        const auto gone = room->leave(client.id().to_string());
        if (gone) co_await client.clients().broadcast(user_left, as_payload(to_json(*gone)));
    });
    return routes;
}

}  // namespace

int main(int argc, char** argv) {
    std::uint16_t port = 8080;
    std::uint16_t http_port = 3000;
    std::string files = KEPHAS_CHAT_FILES;
    std::string certificate;
    std::string key;
    CLI::App app{"kephas-chat: a chat for browsers"};
    app.add_option("--port", port, "of the WebSocket at /ws")->capture_default_str();
    app.add_option("--http-port", http_port, "of the page")->capture_default_str();
    app.add_option("--files", files, "the folder of the page");
    auto* with_certificate = app.add_option("--tls-cert", certificate, "PEM file of a certificate and its chain: https and wss");
    auto* with_key = app.add_option("--tls-key", key, "PEM file of its private key");
    with_certificate->needs(with_key);
    with_key->needs(with_certificate);
    CLI11_PARSE(app, argc, argv);
    const std::string secure = certificate.empty() ? "" : "s";
    kephas::tls_options tls;
    if (!certificate.empty()) tls.certificates = {{kephas::pem_file(certificate), kephas::pem_file(key)}};
    try {
        kephas::server server{make_routes(std::make_shared<chat::room>()),
                              {
                                  .listen = {"ws" + secure + "://0.0.0.0:" + std::to_string(port) + "/ws",
                                             "http" + secure + "://0.0.0.0:" + std::to_string(http_port)},
                                  .tls = tls,
                                  .origins = kephas::same_host(),  // the page comes from another port of this host
                                  .rate_limit = {.messages_per_second = 100, .burst = 200},
                                  .files = files,
                              }};
        server.listen();
        std::printf("The chat is at http%s://localhost:%u\n", secure.c_str(), static_cast<unsigned>(http_port));
        std::fflush(stdout);
        server.run();
        return 0;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "kephas-chat: %s\n", error.what());
        return 1;
    }
}
