// Certificates that change while the server runs, and options that cannot work.
#include <support/temporary_folder.hpp>
#include <support/tls_client.hpp>
#include <support/tls_server.hpp>

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

using namespace kephas;
using namespace kephas::test;
using outcome = certificate_reload::outcome;

namespace {

/// A folder with a certificate and its key.
class certificate_folder {
public:
    certificate_folder() { write(localhost_pair()); }

    [[nodiscard]] std::filesystem::path certificate() const { return folder_ / "cert.pem"; }
    [[nodiscard]] std::filesystem::path key() const { return folder_ / "key.pem"; }
    [[nodiscard]] tls_certificate files() const { return {pem_file(certificate()), pem_file(key())}; }

    /// Over what is there, one file after the other.
    void write(const key_pair& pair) const {
        put(certificate(), pair.certificate);
        put(key(), pair.key);
    }
    /// Each file comes into its place as a whole, but one after the other.
    void rename(const key_pair& pair) const {
        put(folder_ / "cert.new", pair.certificate);
        put(folder_ / "key.new", pair.key);
        std::filesystem::rename(folder_ / "cert.new", certificate());
        std::filesystem::rename(folder_ / "key.new", key());
    }
    static void put(const std::filesystem::path& file, const std::string& text) {
        std::ofstream{file, std::ios::binary | std::ios::trunc} << text;
    }

private:
    temporary_folder folder_;
};

server_options with_files(const certificate_folder& folder) {
    server_options options = tls_server_options();
    options.tls.certificates = {folder.files()};
    options.tls.watch_interval = duration::zero();
    options.tls.reload_patience = std::chrono::milliseconds{100};
    return options;
}

key_pair fresh_pair() { return common_ca().issue({.names = {"localhost"}}); }

std::string shown(std::uint16_t port) {
    tls_client client{port};
    client.handshake();
    return client.server_fingerprint();
}

std::string refusal_of(const server_options& options) {
    try {
        kephas::server server{echo_routes(), options};
        server.listen();
        return "accepted";
    } catch (const std::invalid_argument& failure) {
        return failure.what();
    } catch (const error& failure) {
        return failure.what();
    }
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("options that cannot work are refused with the reason") {
    server_options options = tls_server_options();
    options.tls.certificates.clear();
    CHECK(contains(refusal_of(options), "a listener that speaks TLS needs at least one"));
    options.listen = {"https://127.0.0.1:0"};
    CHECK(contains(refusal_of(options), "a listener that speaks TLS needs at least one"));
    options = tls_server_options();
    options.tls.certificates.push_back({pem_text("x"), {}});
    CHECK(contains(refusal_of(options), "a key is missing"));
    options.tls.certificates.back() = {{}, pem_text("x")};
    CHECK(contains(refusal_of(options), "a certificate is missing"));
    options = tls_server_options();
    options.tls.clients = client_certificates::required;
    CHECK(contains(refusal_of(options), "tls.client_ca is needed"));
    options = tls_server_options();
    options.tls.client_ca = pem_text(common_ca().certificate());
    CHECK(contains(refusal_of(options), "asks for no certificates"));
    options = tls_server_options();
    options.tls.alpn = {""};
    CHECK(contains(refusal_of(options), "1 to 255 bytes"));
}

TEST_CASE("certificates that cannot be used are refused with the file and the reason") {
    const certificate_folder folder;
    const auto refusal = [&](const std::string& certificate, const std::string& key) {
        folder.write({certificate, key});
        return refusal_of(with_files(folder));
    };
    const key_pair good = localhost_pair();
    CHECK(refusal(good.certificate, good.key) == "accepted");
    CHECK(refusal(good.certificate + common_ca().certificate(), good.key) == "accepted");
    CHECK(refusal(good.key + good.certificate, good.certificate + good.key) == "accepted");

    const std::string no_match = refusal(good.certificate, fresh_pair().key);
    CHECK(contains(no_match, "do not belong together"));
    CHECK(contains(no_match, folder.certificate()));
    CHECK(contains(no_match, folder.key()));
    CHECK(contains(refusal("", good.key), folder.certificate().string() + ": there is no certificate in PEM form"));
    CHECK(contains(refusal(good.certificate, "nothing"), folder.key().string() + ": there is no private key in PEM form"));
    CHECK(contains(refusal(good.certificate, encrypted_key(good, "secret")), folder.key().string() + ": the key is encrypted"));
    const std::string cut = good.certificate + common_ca().certificate().substr(0, 200);
    CHECK(contains(refusal(cut, good.key), folder.certificate().string() + ": "));
    std::string broken = good.certificate;
    broken.replace(200, 4, "!!!!");
    CHECK(contains(refusal(broken, good.key), folder.certificate().string() + ": "));
    std::filesystem::remove(folder.key());
    CHECK(contains(refusal_of(with_files(folder)), folder.key().string() + ": No such file or directory"));

    server_options options = tls_server_options();
    options.tls.clients = client_certificates::optional;
    options.tls.client_ca = pem_file("/nonexistent/ca.pem");
    CHECK(contains(refusal_of(options), "/nonexistent/ca.pem: No such file or directory"));
    options.tls.client_ca = pem_text("nothing");
    CHECK(contains(refusal_of(options), "(in memory): there is no certificate in PEM form"));
}

TEST_CASE("a reload on call: new connections get the new certificate, open ones go on") {
    const certificate_folder folder;
    running_server server{echo_routes(), with_files(folder)};
    test_client before = open_tls(server.port());
    CHECK(server->reload_certificates().what == outcome::unchanged);
    const key_pair next = fresh_pair();
    folder.write(next);
    CHECK(shown(server.port()) == fingerprint(localhost_pair().certificate));  // nobody has asked for it
    const certificate_reload reloaded = server->reload_certificates();
    CHECK(reloaded.what == outcome::reloaded);
    CHECK(reloaded.ok());
    CHECK(shown(server.port()) == fingerprint(next.certificate));
    before.send_text("as before");
    CHECK(before.read_text() == "as before");
    CHECK(server->stats().certificate_reloads == 1);
    CHECK(server->reload_certificates().what == outcome::unchanged);
}

TEST_CASE("a bad certificate on call is reported, and the one before stays") {
    const certificate_folder folder;
    log_lines log;
    server_options options = with_files(folder);
    options.log = log.as_logger(log_level::error);
    running_server server{echo_routes(), std::move(options)};
    const std::string before = fingerprint(localhost_pair().certificate);
    certificate_folder::put(folder.key(), fresh_pair().key);
    const certificate_reload result = server->reload_certificates();
    CHECK(result.what == outcome::failed);
    CHECK_FALSE(result.ok());
    CHECK(contains(result.problem, "do not belong together"));
    CHECK(contains(result.problem, folder.key()));
    REQUIRE(log.all().size() == 1);
    CHECK(contains(log.all().front(), "TLS certificates not reloaded, the ones before stay in use: "));
    CHECK(shown(server.port()) == before);
    std::filesystem::remove(folder.certificate());
    CHECK(contains(server->reload_certificates().problem, "No such file or directory"));
    CHECK(shown(server.port()) == before);
    CHECK(server->stats().certificate_reload_failures == 2);
    CHECK(server->stats().certificate_reloads == 0);
}

TEST_CASE("a mismatch that somebody mends in time is not reported") {
    const certificate_folder folder;
    log_lines log;
    server_options options = with_files(folder);
    options.tls.reload_patience = std::chrono::seconds{10};
    options.log = log.as_logger(log_level::error);
    running_server server{echo_routes(), std::move(options)};
    const key_pair next = fresh_pair();
    certificate_folder::put(folder.certificate(), next.certificate);
    certificate_reload result;
    std::thread caller{[&] { result = server->reload_certificates(); }};
    // The caller has met the mismatch, or not: either way it succeeds once the key is there.
    certificate_folder::put(folder.key(), next.key);
    caller.join();
    CHECK(result.what == outcome::reloaded);
    CHECK(log.all().empty());
    CHECK(shown(server.port()) == fingerprint(next.certificate));
}

TEST_CASE("files that change are taken up by themselves, and bad ones are reported once") {
    const certificate_folder folder;
    log_lines log;
    server_options options = with_files(folder);
    options.tls.watch_interval = std::chrono::milliseconds{5};
    options.tls.reload_patience = std::chrono::milliseconds{50};
    options.log = log.as_logger(log_level::error);
    running_server server{echo_routes(), std::move(options)};
    const key_pair next = fresh_pair();
    folder.write(next);
    REQUIRE(eventually([&] { return server->stats().certificate_reloads == 1; }));
    CHECK(shown(server.port()) == fingerprint(next.certificate));

    certificate_folder::put(folder.key(), "nothing");
    REQUIRE(eventually([&] { return server->stats().certificate_reload_failures == 1; }));
    CHECK(shown(server.port()) == fingerprint(next.certificate));
    const key_pair last = fresh_pair();
    folder.rename(last);
    REQUIRE(eventually([&] { return server->stats().certificate_reloads == 2; }));
    CHECK(shown(server.port()) == fingerprint(last.certificate));
    CHECK(server->stats().certificate_reload_failures == 1);
    CHECK(log.all().size() == 1);
}

TEST_CASE("a ticket from before a reload means a full handshake, not a failure") {
    const certificate_folder folder;
    running_server server{echo_routes(), with_files(folder)};
    std::shared_ptr<ssl_session_st> session;
    for (const bool again : {false, true}) {
        auto transport = std::make_unique<tls_client>(server.port());
        tls_client& tls = *transport;
        if (again) tls.resume(session);
        tls.handshake();
        test_client client{std::move(transport)};
        REQUIRE(client.handshake().starts_with("HTTP/1.1 101 "));
        CHECK_FALSE(tls.resumed());
        session = tls.session();
        folder.write(fresh_pair());
        CHECK(server->reload_certificates().what == outcome::reloaded);
    }
}

TEST_CASE("certificates rotate all the time under a load of new connections, and none fails") {
    // KEPHAS_ROTATION_SECONDS makes it a long one.
    const char* wish = std::getenv("KEPHAS_ROTATION_SECONDS");
    const auto length = std::chrono::seconds{wish != nullptr ? std::atoi(wish) : 2};
    const auto pause = std::chrono::milliseconds{100};
    const certificate_folder folder;
    log_lines log;
    server_options options = with_files(folder);
    options.io_threads = 2;
    options.tls.watch_interval = std::chrono::milliseconds{10};
    options.tls.reload_patience = std::chrono::seconds{10};
    options.log = log.as_logger(log_level::error);
    running_server server{echo_routes(), std::move(options)};

    std::atomic<bool> stop{false};
    std::atomic<std::size_t> opened{0};
    std::atomic<std::size_t> failed{0};
    std::vector<std::thread> clients;
    for (int i = 0; i < 3; ++i) {
        clients.emplace_back([&, i] {
            test_client lasting = open_tls(server.port());
            while (!stop) {
                try {
                    test_client client = open_tls(server.port(), {.version = i == 0 ? 12 : 13});
                    client.send_text("hello");
                    if (client.read_text() != "hello") ++failed;
                    lasting.send_text("still here");
                    if (lasting.read_text() != "still here") ++failed;
                    ++opened;
                } catch (const std::exception& failure) {
                    MESSAGE(failure.what());
                    ++failed;
                }
            }
        });
    }
    const auto end = std::chrono::steady_clock::now() + length;
    std::size_t rotations = 0;
    key_pair last;
    while (std::chrono::steady_clock::now() < end) {
        last = fresh_pair();
        if (rotations++ % 2 == 0) folder.rename(last);
        else folder.write(last);
        std::this_thread::sleep_for(pause);  // the rate of the rotation, nothing that is waited for
    }
    REQUIRE(eventually([&] { return shown(server.port()) == fingerprint(last.certificate); }));
    stop = true;
    for (auto& each : clients) each.join();
    const server_stats stats = server->stats();
    MESSAGE(rotations << " rotations, " << stats.certificate_reloads << " reloads, " << opened.load() << " connections, "
                      << failed.load() << " failed");
    CHECK(failed == 0);
    CHECK(opened > 0);
    CHECK(stats.certificate_reloads > rotations / 4);
    CHECK(stats.certificate_reload_failures == 0);
    CHECK(stats.tls_failures == 0);
    CHECK(log.all().empty());
}
