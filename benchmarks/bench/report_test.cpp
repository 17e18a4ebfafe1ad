#include "report.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

using namespace bench;

namespace {

options some_options() {
    options o;
    o.server = parse_url("ws://127.0.0.1:9000/ws?a=\"<&>");
    o.connections = 3;
    o.depth = 2;
    o.pid = 1;
    o.verify = true;
    return o;
}

measurement some_measurement() {
    measurement m;
    for (std::uint64_t i = 1; i <= 1000; ++i) m.latencies.add(i * 1000);
    m.replies = 1000;
    m.seconds = 0.5;
    m.server_cpu_nanoseconds = 7'500'000;
    m.client_cpu_nanoseconds = 100'000'000;
    m.server_resident_bytes = 3 << 20;
    m.clean_closes = 3;
    return m;
}

/// A number that a JSON object of one level has under this name.
double number(const std::string& json, const std::string& name) {
    const std::size_t at = json.find('"' + name + "\":");
    REQUIRE_MESSAGE(at != std::string::npos, name);
    return std::stod(json.substr(at + name.size() + 3));
}

bool has(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

/// Whether each tag that is opened is closed, in order.
void check_tags(const std::string& page) {
    std::vector<std::string> open;
    for (std::size_t at = page.find('<'); at != std::string::npos; at = page.find('<', at + 1)) {
        const std::size_t end = page.find_first_of(" >/\n", at + 2);
        const std::string name = page.substr(at + 1, end - at - 1);
        if (name.starts_with('!') || name == "meta") continue;
        if (name.starts_with('/')) {
            REQUIRE_FALSE(open.empty());
            REQUIRE(open.back() == name.substr(1));
            open.pop_back();
        } else if (page[page.find('>', at) - 1] != '/') {
            open.push_back(name);
        }
    }
    CHECK(open.empty());
}

}  // namespace

TEST_CASE("the JSON report is one object on one line") {
    const std::string json = json_report(some_options(), some_measurement());
    CHECK(json.starts_with(
        "{\"url\":\"ws://127.0.0.1:9000/ws?a=\\\"<&>\",\"loop\":\"closed\",\"connections\":3,\"depth\":2,"));
    CHECK(json.ends_with("\"clean_closes\":3}\n"));
    CHECK(std::count(json.begin(), json.end(), '\n') == 1);
    CHECK(number(json, "messages") == 1000);
    CHECK(number(json, "messages_per_second") == 2000);
    CHECK(number(json, "min_us") == 1);
    CHECK(number(json, "p50_us") == doctest::Approx(500).epsilon(0.01));
    CHECK(number(json, "p90_us") == doctest::Approx(900).epsilon(0.01));
    CHECK(number(json, "p99_us") == doctest::Approx(990).epsilon(0.01));
    CHECK(number(json, "p999_us") == doctest::Approx(999).epsilon(0.01));
    CHECK(number(json, "max_us") == 1000);
    CHECK(number(json, "server_cpu_us_per_message") == 7.5);
    CHECK(number(json, "server_resident_bytes") == 3 << 20);
    CHECK(number(json, "client_cpu_share") == 0.2);
    CHECK(has(json, "\"verify\":\"bytes and order\""));
    CHECK_FALSE(has(json, "sending_late"));
}

TEST_CASE("what was not measured is not reported") {
    auto o = some_options();
    o.pid = 0;
    o.verify = false;
    for (const std::string& report : {json_report(o, some_measurement()), text_report(o, some_measurement()),
                                      html_report(o, some_measurement(), {"a machine", "a day"})}) {
        CHECK_FALSE(has(report, "server_"));
        CHECK_FALSE(has(report, "resident"));
    }
    CHECK(has(json_report(o, {}), "\"messages\":0"));
    CHECK(has(text_report(o, {}), "messages  0 in"));
    check_tags(html_report(o, {}, {}));
}

TEST_CASE("an open loop reports its rate, and how late this program was itself") {
    auto o = some_options();
    o.rate = 20'000;
    auto m = some_measurement();
    m.lags.add(3000);
    m.replies = 500;
    const std::string json = json_report(o, m);
    CHECK(has(json, "\"loop\":\"open\""));
    CHECK(number(json, "rate") == 20'000);
    CHECK(number(json, "sending_late_p99_us") == 3);
    CHECK(number(json, "messages_per_second") == 1000);      // the server has fallen behind
    CHECK(number(json, "server_cpu_us_per_message") == 15);  // of those that it answered
    CHECK(has(text_report(o, m), "at 20000 per second (open loop)"));
    CHECK(has(html_report(o, m, {"", ""}), "Sent later than intended"));
}

TEST_CASE("what is counted is called by its name") {
    auto o = some_options();
    o.reconnect = true;
    auto m = some_measurement();
    m.clean_closes = 1234;
    CHECK(has(json_report(o, m), "\"loop\":\"reconnect\""));
    CHECK(number(json_report(o, m), "server_cpu_us_per_message") == 7.5);  // one message each
    CHECK(has(text_report(o, m), "7.500 us CPU per connection"));
    CHECK(has(text_report(o, m), "2000 opened, used and closed per second"));
    CHECK(has(text_report(o, m), "all 1234 connections closed in order"));
    const std::string page = html_report(o, m, {"", ""});
    check_tags(page);
    for (const char* part : {"Server CPU per connection", "<dt>connections/s</dt><dd>2000</dd>", "1000 connections in",
                             "from the beginning of each connection to its end"})
        CHECK_MESSAGE(has(page, part), part);

    o.reconnect = false;
    o.broadcast = true;
    CHECK(has(text_report(o, m), "7.500 us CPU per delivery"));
    CHECK(has(html_report(o, m, {"", ""}), "1000 deliveries in"));

    o.broadcast = false;
    o.call = "math.add";
    o.expect = "42";
    CHECK(has(text_report(o, m), "calls of math.add, 2 in flight"));
    CHECK(has(text_report(o, m), "7.500 us CPU per call"));
    CHECK(has(text_report(o, m), "verified  every result"));
    CHECK(has(json_report(o, m), "\"call\":\"math.add\",\"threads\":1,\"verify\":\"results\""));
}

TEST_CASE("the page needs nothing else, and has the plots and every figure") {
    const std::string page = html_report(some_options(), some_measurement(), {"A <CPU>", "2026-01-02"});
    CHECK(page.starts_with("<!doctype html>"));
    check_tags(page);
    for (const char* outside : {"http:", "https:", "//cdn", "src=", "href=", "url(", "@import", "<script"})
        CHECK_FALSE(has(page, outside));
    for (const char* part :
         {"name=\"viewport\"", "prefers-color-scheme: dark", "<svg", "class=\"bars\"", "class=\"curve\"", "p99.9",
          "Server CPU per message</th><td>7.50 µs", "3.0 MiB", "every byte, in order", "A &lt;CPU&gt;", "2026-01-02",
          "ws://127.0.0.1:9000/ws?a=&quot;&lt;&amp;&gt;", "Latency, most</th><td>1.00 ms"})
        CHECK_MESSAGE(has(page, part), part);
    CHECK_FALSE(has(page, "nan"));
    CHECK_FALSE(has(page, "inf"));
}

TEST_CASE("plots can be drawn of any distribution") {
    for (const std::vector<std::uint64_t>& values : {std::vector<std::uint64_t>{0},
                                                     {1},
                                                     {1000},
                                                     {1000, 1000},
                                                     {1000, 1001},
                                                     {1, 60'000'000'000},
                                                     {0, ~std::uint64_t{0}}}) {
        measurement m;
        for (const std::uint64_t value : values) m.latencies.add(value);
        CAPTURE(values.size());
        const std::string page = html_report(some_options(), m, {});
        check_tags(page);
        CHECK_FALSE(has(page, "nan"));
        CHECK_FALSE(has(page, "inf"));
        CHECK(has(page, "<span class=\"x\""));
    }
}
