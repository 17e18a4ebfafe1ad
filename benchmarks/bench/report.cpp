#include "report.hpp"

#include "json_text.hpp"
#include "summary.hpp"
#include <fmt/format.h>

#include <array>
#include <iterator>
#include <utility>

namespace bench {

namespace {

constexpr std::array<std::pair<const char*, double>, 4> percentiles{
    {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p999", 0.999}}};

double us(std::uint64_t nanoseconds) { return static_cast<double>(nanoseconds) / 1000; }

}  // namespace

rates rates_of(const options& o, const measurement& m) {
    const auto replies = static_cast<double>(m.replies);
    rates r;
    r.per_second = m.seconds > 0 ? replies / m.seconds : 0;
    r.client_cpu_share = m.seconds > 0 ? static_cast<double>(m.client_cpu_nanoseconds) / 1e9 / m.seconds : 0;
    if (o.pid != 0 && replies > 0) r.server_cpu_us = static_cast<double>(m.server_cpu_nanoseconds) / 1000 / replies;
    return r;
}

std::string unit(const options& o) {
    return o.broadcast ? "delivery" : o.reconnect ? "connection" : o.call ? "call" : "message";
}

std::string units(const options& o) { return o.broadcast ? "deliveries" : unit(o) + 's'; }

std::string load_in_words(const options& o) {
    const std::size_t size = o.size + (o.command ? 4 : 0);
    const std::string each =
        o.call ? "calls of " + *o.call : fmt::format("{} messages of {} bytes", o.text ? "text" : "binary", size);
    if (o.broadcast)
        return fmt::format("{} from one connection to {} others, {} in flight", each, o.connections - 1, o.depth);
    if (o.reconnect)
        return fmt::format("{} connections at a time, each for one {} message of {} bytes and then replaced",
                           o.connections, o.text ? "text" : "binary", size);
    if (o.rate) return fmt::format("{} at {} per second (open loop) over {} connections", each, *o.rate, o.connections);
    return fmt::format("{}, {} in flight (closed loop) on each of {} connections", each, o.depth, o.connections);
}

std::string verification_in_words(const options& o) {
    if (o.expect_echo) return "every byte, in any order";
    if (o.expect) return "every result";
    return !o.verify ? "no" : o.unordered ? "every byte, in any order" : "every byte, in order";
}

std::string closes_in_words(const options& o, const measurement& m) {
    if (o.reconnect) return fmt::format("all {} connections", m.clean_closes);
    return fmt::format("{} of {} connections", m.clean_closes, o.connections);
}

std::string text_report(const options& o, const measurement& m) {
    const rates r = rates_of(o, m);
    const histogram& l = m.latencies;
    std::string out;
    const auto line = [&](const std::string& text) { out += text + '\n'; };
    line(fmt::format("load      {}", load_in_words(o)));
    line(fmt::format("{:<9} {} in {:.3f} s, {:.0f} {} per second",
                     o.broadcast   ? "delivered"
                     : o.reconnect ? "opened"
                                   : "messages",
                     l.count(), m.seconds, r.per_second,
                     o.broadcast   ? "delivered"
                     : o.reconnect ? "opened, used and closed"
                                   : "answered"));
    line(fmt::format("latency   p50 {:.1f}, p90 {:.1f}, p99 {:.1f}, p99.9 {:.1f}, max {:.1f} us", us(l.percentile(0.5)),
                     us(l.percentile(0.9)), us(l.percentile(0.99)), us(l.percentile(0.999)), us(l.max())));
    if (o.rate)
        line(fmt::format("sending   late by p50 {:.1f}, p99 {:.1f}, max {:.1f} us", us(m.lags.percentile(0.5)),
                         us(m.lags.percentile(0.99)), us(m.lags.max())));
    if (o.pid != 0)
        line(fmt::format("server    {:.3f} us CPU per {}, {:.1f} MiB resident", r.server_cpu_us, unit(o),
                         static_cast<double>(m.server_resident_bytes) / (1 << 20)));
    line(fmt::format("client    {:.0f} % of one CPU", 100 * r.client_cpu_share));
    line(fmt::format("verified  {}; {} closed in order", verification_in_words(o), closes_in_words(o, m)));
    return out;
}

std::string json_report(const options& o, const measurement& m) {
    const rates r = rates_of(o, m);
    const histogram& l = m.latencies;
    std::string out = fmt::format("{{\"url\":{},\"loop\":\"{}\",\"connections\":{},", json_string(o.server.text),
                                  o.broadcast   ? "broadcast"
                                  : o.reconnect ? "reconnect"
                                  : o.rate      ? "open"
                                                : "closed",
                                  o.connections);
    const auto add = [&](const char* format, const auto&... values) {
        fmt::vformat_to(std::back_inserter(out), format, fmt::make_format_args(values...));
    };
    if (o.rate)
        add("\"rate\":{},", *o.rate);
    else
        add("\"depth\":{},", o.depth);
    if (o.call)
        add("\"call\":{},", json_string(*o.call));
    else
        add("\"size\":{},", o.size);
    add("\"threads\":{},\"verify\":\"{}\",", o.threads,
        o.expect_echo ? "bytes"
        : o.expect    ? "results"
        : !o.verify   ? "no"
        : o.unordered ? "bytes"
                      : "bytes and order");
    add("\"messages\":{},\"seconds\":{:.6f},\"messages_per_second\":{:.1f},", l.count(), m.seconds, r.per_second);
    add("\"min_us\":{:.2f},\"mean_us\":{:.2f},", us(l.min()), l.mean() / 1000);
    for (const auto& [name, fraction] : percentiles) add("\"{}_us\":{:.2f},", name, us(l.percentile(fraction)));
    add("\"max_us\":{:.2f},", us(l.max()));
    if (o.rate)
        add("\"sending_late_p50_us\":{:.2f},\"sending_late_p99_us\":{:.2f},\"sending_late_max_us\":{:.2f},",
            us(m.lags.percentile(0.5)), us(m.lags.percentile(0.99)), us(m.lags.max()));
    if (o.pid != 0)
        add("\"server_cpu_us_per_message\":{:.4f},\"server_resident_bytes\":{},", r.server_cpu_us,
            m.server_resident_bytes);
    add("\"client_cpu_share\":{:.3f},\"clean_closes\":{}}}\n", r.client_cpu_share, m.clean_closes);
    return out;
}

}  // namespace bench
