#include <kephas/proto/websocket/deflate_negotiation.hpp>

#include <algorithm>
#include <utility>

namespace kephas::websocket {

namespace {

constexpr std::string_view extension_name = "permessage-deflate";
constexpr int most_bits = 15;

/// The parameters of one element, as they stand there.
struct element {
    bool server_no_context_takeover = false;
    bool client_no_context_takeover = false;
    std::optional<int> server_max_window_bits;
    bool client_max_window_bits_named = false;  ///< It may come without a value in an offer.
    std::optional<int> client_max_window_bits;
};

/// A decimal integer from 8 to 15 without leading zeros (RFC 7692 7.1.2.1).
std::optional<int> window_bits(const std::optional<std::string>& value) {
    if (!value) return std::nullopt;
    for (int bits = 8; bits <= most_bits; ++bits) {
        if (*value == std::to_string(bits)) return bits;
    }
    return std::nullopt;
}

/// True the first time.
bool raise(bool& flag) noexcept { return !std::exchange(flag, true); }

/// `nullopt` for parameters that are unknown, repeated or illegal (RFC 7692 7.1).
std::optional<element> parse(const http::extension& from) {
    element out;
    for (const auto& [name, value] : from.parameters) {
        bool good = false;
        if (name == "server_no_context_takeover") {
            good = !value && raise(out.server_no_context_takeover);
        } else if (name == "client_no_context_takeover") {
            good = !value && raise(out.client_no_context_takeover);
        } else if (name == "server_max_window_bits") {
            good = !out.server_max_window_bits && (out.server_max_window_bits = window_bits(value));
        } else if (name == "client_max_window_bits") {
            good = raise(out.client_max_window_bits_named) && (!value || (out.client_max_window_bits = window_bits(value)));
        }
        if (!good) return std::nullopt;
    }
    return out;
}

std::string with_bits(std::string_view name, int bits) {
    return std::string{"; "}.append(name).append("=").append(std::to_string(bits));
}

std::string describe(const deflate_parameters& agreed) {
    std::string out{extension_name};
    if (agreed.server_no_context_takeover) out += "; server_no_context_takeover";
    if (agreed.client_no_context_takeover) out += "; client_no_context_takeover";
    if (agreed.server_max_window_bits < most_bits)
        out += with_bits("server_max_window_bits", agreed.server_max_window_bits);
    if (agreed.client_max_window_bits < most_bits)
        out += with_bits("client_max_window_bits", agreed.client_max_window_bits);
    return out;
}

deflate_parameters agree(const element& offer, const deflate_options& options) {
    deflate_parameters agreed;
    // RFC 7692 7.1.1: either may be answered without having been asked for.
    agreed.server_no_context_takeover = offer.server_no_context_takeover || !options.server_context_takeover;
    agreed.client_no_context_takeover = offer.client_no_context_takeover || !options.client_context_takeover;
    agreed.server_max_window_bits =
        std::min(offer.server_max_window_bits.value_or(most_bits), options.server_max_window_bits);
    if (offer.client_max_window_bits_named) {
        agreed.client_max_window_bits =
            std::min(offer.client_max_window_bits.value_or(most_bits), options.client_max_window_bits);
    } else if (options.client_max_window_bits < most_bits) {
        // The client cannot be told a window (7.1.2.2), but it can be told not to keep one.
        agreed.client_no_context_takeover = true;
    }
    return agreed;
}

}  // namespace

std::optional<deflate_agreement> accept_deflate(std::span<const http::extension> offered,
                                                const deflate_options& options) {
    if (!options.enabled) return std::nullopt;
    for (const http::extension& each : offered) {
        if (each.name != extension_name) continue;
        if (const auto offer = parse(each)) {
            const deflate_parameters agreed = agree(*offer, options);
            return deflate_agreement{agreed, describe(agreed)};
        }
    }
    return std::nullopt;
}

std::string deflate_offer(const deflate_options& options) {
    std::string out{extension_name};
    if (!options.server_context_takeover) out += "; server_no_context_takeover";
    if (!options.client_context_takeover) out += "; client_no_context_takeover";
    if (options.server_max_window_bits < most_bits)
        out += with_bits("server_max_window_bits", options.server_max_window_bits);
    if (options.client_max_window_bits < most_bits)
        out += with_bits("client_max_window_bits", options.client_max_window_bits);
    else
        out += "; client_max_window_bits";
    return out;
}

result<std::optional<deflate_parameters>, std::string_view> check_deflate_response(
    std::span<const http::extension> answered, const deflate_options& options) {
    using outcome = result<std::optional<deflate_parameters>, std::string_view>;
    const auto broken = [](std::string_view why) { return outcome{why}; };
    if (answered.empty()) return outcome{std::optional<deflate_parameters>{}};
    if (answered.size() > 1 || answered.front().name != extension_name || !options.enabled)
        return broken("an extension that was not offered");
    const auto answer = parse(answered.front());
    if (!answer) return broken("illegal parameters of permessage-deflate");
    if (answer->client_max_window_bits_named && !answer->client_max_window_bits)
        return broken("client_max_window_bits without a value");

    deflate_parameters agreed;
    if (!answer->server_no_context_takeover && !options.server_context_takeover)
        return broken("server_no_context_takeover was not granted");
    agreed.server_no_context_takeover = answer->server_no_context_takeover;
    agreed.client_no_context_takeover = answer->client_no_context_takeover || !options.client_context_takeover;
    agreed.server_max_window_bits = answer->server_max_window_bits.value_or(most_bits);
    if (agreed.server_max_window_bits > options.server_max_window_bits)
        return broken("server_max_window_bits was not granted");
    agreed.client_max_window_bits = answer->client_max_window_bits.value_or(options.client_max_window_bits);
    if (agreed.client_max_window_bits > options.client_max_window_bits)
        return broken("client_max_window_bits is larger than offered");
    return outcome{std::optional{agreed}};
}

}  // namespace kephas::websocket
