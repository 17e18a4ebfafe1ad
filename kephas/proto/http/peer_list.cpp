#include <kephas/proto/http/header.hpp>
#include <kephas/proto/http/peer_list.hpp>

#include <algorithm>
#include <charconv>

namespace kephas::http {

namespace {

constexpr std::size_t address_bits = 128;
constexpr std::size_t v4_offset = 96;  // of an IPv4 address in the 128 bits

/// Whether the first `bits` of both are the same.
bool same_prefix(const ip_address& a, const ip_address& b, std::size_t bits) noexcept {
    const std::size_t whole = bits / 8;
    if (!std::equal(a.bytes().begin(), a.bytes().begin() + static_cast<std::ptrdiff_t>(whole), b.bytes().begin())) {
        return false;
    }
    if (bits % 8 == 0) return true;
    const unsigned difference = static_cast<unsigned>(a.bytes()[whole]) ^ b.bytes()[whole];
    return difference >> (8 - bits % 8) == 0;
}

bool has_bits_beyond(const ip_address& base, std::size_t bits) noexcept {
    for (std::size_t bit = bits; bit < address_bits; ++bit) {
        if ((static_cast<unsigned>(base.bytes()[bit / 8]) >> (7 - bit % 8) & 1U) != 0) return true;
    }
    return false;
}

bool is_port(std::string_view text) noexcept {
    return !text.empty() && text.size() <= 5 && std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
}

/// "192.0.2.1", "192.0.2.1:80", "2001:db8::1", "[2001:db8::1]" or "[2001:db8::1]:80".
std::optional<ip_address> parse_element(std::string_view text) noexcept {
    if (text.starts_with('[')) {
        const std::size_t end = text.find(']');
        if (end == std::string_view::npos) return std::nullopt;
        const std::string_view rest = text.substr(end + 1);
        if (!rest.empty() && !(rest.starts_with(':') && is_port(rest.substr(1)))) return std::nullopt;
        const std::string_view inside = text.substr(1, end - 1);
        return inside.find(':') == std::string_view::npos ? std::nullopt : ip_address::parse(inside);
    }
    const std::size_t colon = text.find(':');
    if (colon != std::string_view::npos && text.rfind(':') == colon) {  // one colon: IPv4 and a port
        if (!is_port(text.substr(colon + 1))) return std::nullopt;
        text = text.substr(0, colon);
    }
    return ip_address::parse(text);
}

}  // namespace

std::optional<peer_list::network> peer_list::parse_network(std::string_view text) noexcept {
    const std::size_t slash = std::min(text.find('/'), text.size());
    const auto base = ip_address::parse(text.substr(0, slash));
    if (!base) return std::nullopt;
    if (slash == text.size()) return network{*base, address_bits};
    // "::ffff:10.0.0.0/104" counts all 128 bits, "10.0.0.0/8" only its 32
    const bool written_as_v4 = text.substr(0, slash).find(':') == std::string_view::npos;
    const std::string_view digits = text.substr(slash + 1);
    std::size_t bits = 0;
    const auto [end, failure] = std::from_chars(digits.data(), digits.data() + digits.size(), bits);
    if (failure != std::errc{} || end != digits.data() + digits.size() || digits.size() > 3) return std::nullopt;
    if (bits > (written_as_v4 ? address_bits - v4_offset : address_bits)) return std::nullopt;
    if (written_as_v4) bits += v4_offset;
    if (base->is_v4() && bits < v4_offset) return std::nullopt;
    if (has_bits_beyond(*base, bits)) return std::nullopt;
    return network{*base, bits};
}

result<peer_list, std::string> peer_list::parse(std::span<const std::string> elements) {
    peer_list list;
    for (const std::string& text : elements) {
        if (text == "unix") {
            list.unix_peers_ = true;
        } else if (const auto parsed = parse_network(text)) {
            list.networks_.push_back(*parsed);
        } else {
            return text;
        }
    }
    return list;
}

bool peer_list::contains(const std::optional<ip_address>& peer) const noexcept {
    if (!peer) return unix_peers_;
    return std::ranges::any_of(networks_, [&](const network& each) {
        // "::/0" is every IPv6 address and no IPv4 one
        return each.base.is_v4() == peer->is_v4() && same_prefix(each.base, *peer, each.bits);
    });
}

std::optional<ip_address> forwarded_for(std::string_view header, const peer_list& trusted) noexcept {
    for (;;) {
        const std::size_t comma = header.rfind(',');
        const bool last = comma == std::string_view::npos;
        const auto address = parse_element(trim(header.substr(last ? 0 : comma + 1)));
        if (!address || last || !trusted.contains(address)) return address;
        header = header.substr(0, comma);
    }
}

}  // namespace kephas::http
