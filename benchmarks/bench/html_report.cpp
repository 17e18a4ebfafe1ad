#include "report.hpp"
#include "summary.hpp"
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>
#include <utility>
#include <vector>

namespace bench {

namespace {

// Shapes are drawn in an SVG that is stretched to the width of the screen; labels are text beside it, which is not.
constexpr double extent = 1000;  // of both sides of the SVG
constexpr double plot_rem = 15;  // its height on the screen
constexpr std::size_t most_bars = 80;

constexpr std::string_view style = R"(
:root { color-scheme: light dark; --ink: #1c2430; --dim: #5d6978; --paper: #fff; --line: #d9dfe6; --mark: #2563c9; --note: #b4460f }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e4e9ef; --dim: #98a4b3; --paper: #12161c; --line: #2e3742; --mark: #6ea4ff; --note: #ff9a5c }
}
* { box-sizing: border-box }
body { margin: 0 auto; padding: 1.25rem; max-width: 60rem; font: 1rem/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper) }
h1 { margin: 0; font-size: 1.4rem; overflow-wrap: anywhere }
h2 { margin: 2.25rem 0 .25rem; font-size: 1.1rem }
p { margin: .25rem 0; color: var(--dim) }
dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(8rem, 1fr)); gap: .75rem; margin: 1.25rem 0 0 }
dl div { padding: .6rem .75rem; border: 1px solid var(--line); border-radius: .5rem }
dt { color: var(--dim); font-size: .85rem }
dd { margin: 0; font-size: 1.25rem; font-variant-numeric: tabular-nums; white-space: nowrap }
.plot { position: relative; height: 15rem; margin: 1.25rem .75rem 4.25rem 4.25rem; border: solid var(--line); border-width: 0 0 1px 1px }
.plot.marked { margin: 5.5rem .75rem 4.25rem .5rem }
.plot svg { position: absolute; inset: 0; width: 100%; height: 100%; overflow: visible }
.plot span { position: absolute; font-size: .8rem; line-height: 1.2; color: var(--dim); white-space: nowrap; font-variant-numeric: tabular-nums }
.plot .x { top: calc(100% + .3rem); transform: translateX(-50%) }
.plot .y { right: calc(100% + .4rem); transform: translateY(50%) }
.plot .mark { color: var(--note); padding: 0 .3rem; background: var(--paper) }
@media (max-width: 34rem) { .plot .less { display: none } }
.plot .what { top: calc(100% + 1.6rem); right: 0 }
.bars { fill: var(--mark) }
.grid, .note, .curve { fill: none; vector-effect: non-scaling-stroke }
.grid { stroke: var(--line) }
.note { stroke: var(--note); stroke-dasharray: 4 3 }
.curve { stroke: var(--mark); stroke-width: 2; stroke-linejoin: round }
table { width: 100%; border-collapse: collapse; margin-top: .75rem }
th, td { padding: .4rem .5rem .4rem 0; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; overflow-wrap: anywhere }
th { font-weight: normal; color: var(--dim); width: 42% }
td { font-variant-numeric: tabular-nums }
)";

std::string escaped(std::string_view text) {
    std::string out;
    for (const char c : text) switch (c) {
            case '&': out += "&amp;"; break;
            case '<': out += "&lt;"; break;
            case '>': out += "&gt;"; break;
            case '"': out += "&quot;"; break;
            default: out += c;
        }
    return out;
}

/// Three digits and the unit that suits them.
std::string duration(double nanoseconds) {
    constexpr std::array<std::pair<double, const char*>, 3> units{{{1e9, "s"}, {1e6, "ms"}, {1e3, "µs"}}};
    for (const auto& [size, name] : units)
        if (nanoseconds >= size) {
            const double value = nanoseconds / size;
            return fmt::format("{:.{}f} {}", value, value < 9.995 ? 2 : value < 99.95 ? 1 : 0, name);
        }
    return fmt::format("{:.0f} ns", nanoseconds);
}

/// The same for a round number: no digits that say nothing.
std::string tick_label(double nanoseconds) {
    if (nanoseconds >= 1e9) return fmt::format("{:g} s", nanoseconds / 1e9);
    if (nanoseconds >= 1e6) return fmt::format("{:g} ms", nanoseconds / 1e6);
    if (nanoseconds >= 1e3) return fmt::format("{:g} µs", nanoseconds / 1e3);
    return fmt::format("{:g} ns", nanoseconds);
}

std::string bytes(std::int64_t count) { return fmt::format("{:.1f} MiB", static_cast<double>(count) / (1 << 20)); }

/// A logarithmic axis over [low, high].
class log_axis {
public:
    log_axis(double low, double high) : low_{std::log(low)}, span_{std::log(high) - low_} {}

    /// From 0 to 1.
    [[nodiscard]] double place(double value) const { return std::clamp((std::log(value) - low_) / span_, 0.0, 1.0); }

    /// Round numbers on it, not more than a phone has room for.
    [[nodiscard]] std::vector<double> ticks() const {
        constexpr std::size_t most = 6;
        const std::vector<std::vector<double>> steps{{1, 1.5, 2, 3, 5, 7}, {1, 2, 5}, {1, 3}, {1}};
        for (const auto& mantissas : steps)
            if (auto found = multiples(mantissas, 1); found.size() <= most) return found;
        std::vector<double> found;
        for (int every = 2; found.empty() || found.size() > most; ++every) found = multiples({1}, every);
        return found;
    }

private:
    [[nodiscard]] std::vector<double> multiples(const std::vector<double>& mantissas, int every_decade) const {
        std::vector<double> found;
        for (int decade = 0; decade < 20; decade += every_decade)
            for (const double mantissa : mantissas) {
                const double value = mantissa * std::pow(10.0, decade);
                if (std::log(value) >= low_ - 1e-9 && std::log(value) <= low_ + span_ + 1e-9) found.push_back(value);
            }
        return found;
    }

    double low_;
    double span_;
};

log_axis latency_axis(const histogram& latencies) {
    const double low = std::max(static_cast<double>(latencies.min()), 1.0) * 0.95;
    return {low, std::max(static_cast<double>(latencies.max()) * 1.05, low * 1.2)};
}

std::string x_label(double place, std::string_view text, bool if_room = false) {
    return fmt::format("<span class=\"x{}\" style=\"left:{:.2f}%\">{}</span>\n", if_room ? " less" : "", 100 * place,
                       text);
}

std::string vertical(std::string_view kind, double place, double above = 0) {
    return fmt::format("<path class=\"{}\" d=\"M{:.1f} {:.0f}V{:.0f}\"/>\n", kind, extent * place, -above, extent);
}

/// How many messages took how long: the share of each bar, on a logarithmic axis.
std::string distribution(const histogram& latencies) {
    const log_axis axis = latency_axis(latencies);
    const double low = axis.place(static_cast<double>(latencies.min()));
    const double high = std::max(axis.place(static_cast<double>(latencies.max())), low + 1e-3);
    std::vector<double> bars(most_bars);
    const double width = (high - low) / static_cast<double>(bars.size());
    latencies.for_each([&](std::uint64_t from, std::uint64_t to, std::uint64_t count) {
        // a bucket may reach over several bars: each gets its part
        const double begin = std::max((axis.place(std::max(static_cast<double>(from), 1.0)) - low) / width, 0.0);
        const double end = std::max((axis.place(static_cast<double>(to) + 1) - low) / width, begin + 1e-9);
        for (auto i = static_cast<std::size_t>(begin); i < bars.size() && static_cast<double>(i) < end; ++i) {
            const double inside = std::min(end, static_cast<double>(i) + 1) - std::max(begin, static_cast<double>(i));
            bars[i] += static_cast<double>(count) * inside / (end - begin);
        }
    });
    const double most = std::max(*std::max_element(bars.begin(), bars.end()), 1e-9);

    std::string shapes;
    std::string labels;
    const std::vector<double> ticks = axis.ticks();
    for (std::size_t i = 0; i < ticks.size(); ++i) {
        shapes += vertical("grid", axis.place(ticks[i]));
        labels += x_label(axis.place(ticks[i]), tick_label(ticks[i]), ticks.size() > 4 && i % 2 == 1);
    }
    shapes += "<path class=\"bars\" d=\"";
    for (std::size_t i = 0; i < bars.size(); ++i) {
        if (bars[i] <= 0) continue;
        const double height = std::max(extent * 0.94 * bars[i] / most, extent / 150);  // an outlier is to be seen
        shapes += fmt::format("M{:.2f} {:.0f}v-{:.1f}h{:.2f}v{:.1f}z", extent * (low + width * static_cast<double>(i)),
                              extent, height, extent * width * 0.9, height);
    }
    shapes += "\"/>\n";
    constexpr std::array<std::pair<const char*, double>, 4> marks{
        {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p99.9", 0.999}}};
    double line = 0;
    for (const auto& [name, fraction] : marks) {
        const double place = axis.place(static_cast<double>(latencies.percentile(fraction)));
        const double rem_above = 4.4 - 1.1 * line++;  // on lines of their own: they may lie close together
        shapes += vertical("note", place, extent * rem_above / plot_rem);
        const std::string side =
            place < 0.6 ? fmt::format("left:{:.2f}%", 100 * place) : fmt::format("right:{:.2f}%", 100 * (1 - place));
        labels += fmt::format("<span class=\"mark\" style=\"{};top:{:.1f}rem\">{} {}</span>\n", side, -rem_above, name,
                              duration(static_cast<double>(latencies.percentile(fraction))));
    }
    return fmt::format(
        "<div class=\"plot marked\">\n<svg viewBox=\"0 0 {0} {0}\" preserveAspectRatio=\"none\" role=\"img\" "
        "aria-label=\"Distribution of the latencies\">\n{1}</svg>\n{2}<span class=\"what\">latency, "
        "logarithmic</span>\n</div>\n",
        extent, shapes, labels);
}

/// What share of the messages was answered within which time; the axis gives each further nine the same room.
std::string percentile_curve(const histogram& latencies) {
    const log_axis axis = latency_axis(latencies);
    const auto count = static_cast<double>(latencies.count());
    const double nines = std::clamp(std::log10(count), 1.0, 7.0);
    const auto place = [&](double above) { return std::min(-std::log10(std::max(above, 1e-12)) / nines, 1.0); };

    std::string shapes;
    std::string labels;
    for (const double value : axis.ticks()) {
        shapes +=
            fmt::format("<path class=\"grid\" d=\"M0 {:.1f}H{:.0f}\"/>\n", extent * (1 - axis.place(value)), extent);
        labels += fmt::format("<span class=\"y\" style=\"bottom:{:.2f}%\">{}</span>\n", 100 * axis.place(value),
                              tick_label(value));
    }
    constexpr std::array<std::pair<const char*, double>, 6> ticks{
        {{"0", 1}, {"90&nbsp;%", 0.1}, {"99", 0.01}, {"99.9", 1e-3}, {"99.99", 1e-4}, {"99.999", 1e-5}}};
    for (const auto& [name, above] : ticks) {
        if (-std::log10(above) > nines + 1e-9) break;
        shapes += vertical("grid", place(above));
        labels += x_label(place(above), name);
    }
    std::string points;
    double seen = 0;
    double last_place = 0;
    latencies.for_each([&](std::uint64_t, std::uint64_t to, std::uint64_t of) {
        const double height = extent * (1 - axis.place(static_cast<double>(std::min(to, latencies.max()))));
        points += fmt::format("{}{:.1f} {:.1f}", points.empty() ? "M" : "L", extent * last_place, height);
        seen += static_cast<double>(of);
        last_place = place(1 - seen / count);
        points += fmt::format("L{:.1f} {:.1f}", extent * last_place, height);
    });
    shapes += fmt::format("<path class=\"curve\" d=\"{}\"/>\n", points);
    return fmt::format(
        "<div class=\"plot\">\n<svg viewBox=\"0 0 {0} {0}\" preserveAspectRatio=\"none\" role=\"img\" "
        "aria-label=\"Latency at each percentile\">\n{1}</svg>\n{2}<span class=\"what\">share of "
        "them</span>\n</div>\n",
        extent, shapes, labels);
}

std::string row(std::string_view name, std::string_view value) {
    return fmt::format("<tr><th scope=\"row\">{}</th><td>{}</td></tr>\n", name, escaped(value));
}

std::string card(std::string_view name, std::string_view value) {
    return fmt::format("<div><dt>{}</dt><dd>{}</dd></div>\n", name, escaped(value));
}

std::string figures(const options& o, const measurement& m, const circumstances& where) {
    const rates r = rates_of(o, m);
    const auto at = [&](double fraction) { return duration(static_cast<double>(m.latencies.percentile(fraction))); };
    std::string rows = row("Server", o.server.text) + row("Load", load_in_words(o)) +
                       row("Measured", fmt::format("{} {} in {:.3f} s", m.latencies.count(), units(o), m.seconds)) +
                       row(o.reconnect ? "Connections per second" : "Answered per second", fmt::format("{:.0f}", r.per_second)) +
                       row("Latency, least", duration(static_cast<double>(m.latencies.min()))) +
                       row("Latency, mean", duration(m.latencies.mean())) + row("Latency, p50", at(0.5)) +
                       row("Latency, p90", at(0.9)) + row("Latency, p99", at(0.99)) + row("Latency, p99.9", at(0.999)) +
                       row("Latency, most", duration(static_cast<double>(m.latencies.max())));
    if (o.rate)
        rows += row("Sent later than intended",
                    fmt::format("p50 {}, p99 {}, at most {}", duration(static_cast<double>(m.lags.percentile(0.5))),
                                duration(static_cast<double>(m.lags.percentile(0.99))),
                                duration(static_cast<double>(m.lags.max()))));
    if (o.pid != 0)
        rows += row("Server CPU per " + unit(o), duration(1000 * r.server_cpu_us)) +
                row("Server memory, resident", bytes(m.server_resident_bytes));
    rows += row("CPU of this program", fmt::format("{:.0f} % of one, on {} thread{}", 100 * r.client_cpu_share,
                                                   o.threads, o.threads == 1 ? "" : "s")) +
            row("Verified", verification_in_words(o)) +
            row("Closed in order", closes_in_words(o, m)) +
            row("Machine", where.machine) + row("Date", where.date);
    return "<table>\n" + rows + "</table>\n";
}

}  // namespace

std::string html_report(const options& o, const measurement& m, const circumstances& where) {
    const rates r = rates_of(o, m);
    const auto at = [&](double fraction) { return duration(static_cast<double>(m.latencies.percentile(fraction))); };
    std::string cards = card("p50", at(0.5)) + card("p99", at(0.99)) + card("p99.9", at(0.999)) +
                        card(o.reconnect ? "connections/s" : "replies/s", fmt::format("{:.0f}", r.per_second));
    if (o.pid != 0)
        cards += card("server CPU/" + unit(o), duration(1000 * r.server_cpu_us)) +
                 card("resident", bytes(m.server_resident_bytes));

    const std::string intention =
        o.rate ? "Latency counts from the time at which each message was to leave, whether it could or not."
        : o.reconnect
            ? "Latency counts from the beginning of each connection to its end."
            : "Latency counts from the sending of each message to its reply.";
    std::string page = fmt::format(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
        "<meta name=\"viewport\" content=\"width=device-width, "
        "initial-scale=1\">\n<title>{0}</title>\n<style>{1}</style>\n</head>\n"
        "<body>\n<h1>{0}</h1>\n<p>{2}</p>\n<dl>\n{3}</dl>\n",
        escaped(o.server.text), style, escaped(load_in_words(o)), cards);
    if (m.latencies.count() > 0)
        page += "<h2>Distribution</h2>\n<p>" + intention + "</p>\n" + distribution(m.latencies) +
                "<h2>Percentiles</h2>\n<p>Each further nine has the same room.</p>\n" + percentile_curve(m.latencies);
    return page + "<h2>Figures</h2>\n" + figures(o, m, where) + "</body>\n</html>\n";
}

}  // namespace bench
