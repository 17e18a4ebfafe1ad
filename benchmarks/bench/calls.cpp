#include "calls.hpp"

#include "channel.hpp"
#include "json_text.hpp"

#include <algorithm>
#include <charconv>

namespace bench {

namespace {

constexpr std::uint64_t first_id = 10'000'000;  // so that all have the same number of digits
constexpr std::uint64_t different_ids = 90'000'000;

bool all_digits(std::string_view text) {
    return std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

std::string shortened(std::string_view text) {
    constexpr std::size_t most = 200;
    return text.size() <= most ? std::string{text} : std::string{text.substr(0, most)} + "...";
}

}  // namespace

calls::calls(const options& o)
    : before_{R"({"jsonrpc":"2.0","method":)" + json_string(o.call.value_or("")) +
              (o.params.empty() ? "" : ",\"params\":" + o.params) + ",\"id\":"},
      after_{"}"},
      expected_{o.expect},
      echo_{o.expect_echo} {
    if (!echo_) return;
    known_ = true;
    known_before_ = before_;
    known_after_ = after_;
}

std::array<std::uint8_t, calls::id_digits> calls::id_of(std::uint64_t number) noexcept {
    std::array<std::uint8_t, id_digits> text;
    std::uint64_t rest = first_id + number % different_ids;
    for (std::size_t i = id_digits; i > 0; --i, rest /= 10) text[i - 1] = static_cast<std::uint8_t>('0' + rest % 10);
    return text;
}

std::uint64_t calls::answered(std::string_view reply, std::uint64_t oldest) {
    std::string_view id;
    if (known_ && reply.size() == known_before_.size() + id_digits + known_after_.size() &&
        reply.starts_with(known_before_) && reply.ends_with(known_after_)) {
        id = reply.substr(known_before_.size(), id_digits);
        if (!all_digits(id)) id = {};
    }
    if (id.empty()) id = checked_id(reply);
    std::uint64_t value = 0;
    std::from_chars(id.data(), id.data() + id.size(), value);
    if (value < first_id) throw server_fault{"got a reply to an unknown call: " + shortened(reply)};
    const std::uint64_t number = oldest - oldest % different_ids + (value - first_id);
    return number < oldest ? number + different_ids : number;
}

/// Its digits.
std::string_view calls::checked_id(std::string_view reply) {
    if (echo_) throw server_fault{"expected the echo of a call; came " + shortened(reply)};
    const auto members = json_members(reply);
    if (!members) throw server_fault{"got what is no reply to a call: " + shortened(reply)};
    std::string_view id;
    std::string_view version;
    std::string_view result;
    for (const auto& [name, value] : *members) {
        if (name == "error") throw server_fault{"a call ended with an error: " + shortened(reply)};
        for (const auto& [wanted, place] : {std::pair{"id", &id}, {"jsonrpc", &version}, {"result", &result}})
            if (name == wanted) {
                if (!place->empty()) throw server_fault{"got \"" + std::string{name} + "\" twice: " + shortened(reply)};
                *place = value;
            }
    }
    if (version != "\"2.0\"" || result.empty() || id.empty())
        throw server_fault{"got what is no reply to a call: " + shortened(reply)};
    if (id.size() != id_digits || !all_digits(id))
        throw server_fault{"got a reply to an unknown call: " + shortened(reply)};
    if (expected_ && !same_json(*expected_, result))
        throw server_fault{"expected the result " + *expected_ + "; came " + shortened(result)};
    const auto at = static_cast<std::size_t>(id.data() - reply.data());
    known_ = true;
    known_before_ = reply.substr(0, at);
    known_after_ = reply.substr(at + id_digits);
    return id;
}

}  // namespace bench
