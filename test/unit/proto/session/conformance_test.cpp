// RFC 6455 as data: what comes in, what is made of it, what goes out. Every case is fed to both roles, whole, byte by
// byte, at every split, and in steps that fit no frame, and must end the same each time.
#include <kephas/proto/session/session_machine.hpp>
#include <kephas/proto/websocket/encoder.hpp>

#include <doctest/doctest.h>
#include <support/websocket.hpp>

#include <array>
#include <iterator>
#include <numeric>

using namespace kephas;
using namespace kephas::test;
using namespace std::chrono_literals;
using websocket::opcode;
using websocket::role;

namespace {

/// A frame of the peer, masked or not as the role asks for. `form`: how many bits its length takes, whatever the size;
/// `announced`: another length than that of the payload.
struct part {
    unsigned op = 1;
    std::string payload{};
    bool fin = true;
    unsigned rsv = 0;
    unsigned form = 0;
    std::optional<std::uint64_t> announced{};
    bool wrong_mask = false;

    [[nodiscard]] bytes wire(role self) const {
        const bool masked = (self == role::server) != wrong_mask;
        const std::uint64_t size = announced.value_or(payload.size());
        const unsigned bits = form != 0 ? form : size < 126 ? 7 : size < 65536 ? 16 : 64;
        bytes out;
        const auto put = [&out](std::uint64_t value) { out.push_back(static_cast<std::byte>(value & 0xFFU)); };
        put((fin ? 0x80U : 0U) | rsv << 4U | op);
        put((masked ? 0x80U : 0U) | (bits == 7 ? size : bits == 16 ? 126U : 127U));
        if (bits > 7) {
            for (unsigned shift = bits; shift > 0; shift -= 8) put(size >> (shift - 8));
        }
        constexpr std::array<unsigned, 4> key{0xA1, 0x02, 0xC3, 0xFF};
        for (std::size_t i = 0; masked && i < 4; ++i) put(key[i]);
        for (std::size_t i = 0; i < payload.size(); ++i)
            put(static_cast<unsigned char>(payload[i]) ^ (masked ? key[i % 4] : 0));
        return out;
    }
};

struct conversation {
    std::string name;  ///< Begins with the section of the RFC.
    std::vector<part> in;
    lines events;
    lines out{};  ///< Control frames that are sent.
};

part text_(std::string payload, bool fin = true) { return {1, std::move(payload), fin}; }
part binary_(std::string payload, bool fin = true) { return {2, std::move(payload), fin}; }
part more_(std::string payload, bool fin = true) { return {0, std::move(payload), fin}; }
part ping_(std::string payload = {}) { return {9, std::move(payload)}; }
part pong_(std::string payload = {}) { return {10, std::move(payload)}; }
part close_(unsigned code, std::string_view reason = {}) {
    std::string payload{static_cast<char>(code >> 8U), static_cast<char>(code & 0xFFU)};
    return {8, payload.append(reason)};
}
std::string filler(std::size_t size) {
    std::string out(size, ' ');
    for (std::size_t i = 0; i < size; ++i) out[i] = static_cast<char>('a' + i % 23);
    return out;
}

const std::string reserved_bits = "failed 1002 reserved bits are set";
const std::string reserved_opcode = "failed 1002 reserved opcode";
const std::string not_minimal = "failed 1002 length is not minimal";
const std::string out_of_range = "failed 1002 length is out of range";
const std::string control_fragmented = "failed 1002 control frame is fragmented";
const std::string control_too_long = "failed 1002 control frame is too long";
const std::string no_message = "failed 1002 continuation without a message";
const std::string not_finished = "failed 1002 new message inside a fragmented one";
const std::string not_text = "failed 1007 text is not UTF-8";
const std::string bad_code = "failed 1002 invalid close code";

std::vector<conversation> framing() {
    std::vector<conversation> all;
    for (const unsigned op : {1U, 2U}) {
        const std::string kind = op == 1 ? "text" : "binary";
        for (const std::size_t size : {0U, 1U, 124U, 125U, 126U, 127U, 128U, 255U, 256U, 65535U, 65536U, 65537U}) {
            all.push_back({"5.2 " + kind + " of " + std::to_string(size) + " bytes, and the next message",
                           {{op, filler(size)}, text_("next")},
                           {kind + " " + filler(size), "text next"}});
        }
    }
    for (const auto& [size, form] : {std::pair{0U, 16U}, {1U, 16U}, {125U, 16U}, {0U, 64U}, {125U, 64U}, {126U, 64U}, {65535U, 64U}}) {
        for (const unsigned op : {0U, 1U, 2U}) {
            std::vector<part> in{text_("before")};
            if (op == 0) in.push_back(text_("begun", false));
            in.push_back({op, filler(size), true, 0, form});
            all.push_back({"5.2 a length of " + std::to_string(size) + " in " + std::to_string(form) + " bits, opcode " + std::to_string(op),
                           in, {"text before", not_minimal}});
        }
    }
    for (const std::uint64_t size : {std::uint64_t{1} << 63U, (std::uint64_t{1} << 63U) + 5, ~std::uint64_t{0}}) {
        for (const unsigned op : {1U, 2U}) {
            all.push_back({"5.2 a 64-bit length with its top bit set: " + std::to_string(size) + ", opcode " + std::to_string(op),
                           {text_("before"), {op, "xyz", true, 0, 64, size}},
                           {"text before", out_of_range}});
        }
    }
    for (const unsigned op : {0U, 1U, 2U, 8U, 9U, 10U}) {
        part wrong{op, op == 8 ? std::string{"\x03\xE8"} : "x"};
        wrong.wrong_mask = true;
        std::vector<part> in{text_("before")};
        if (op == 0) in.push_back(binary_("begun", false));
        in.push_back(wrong);
        all.push_back({"5.1 masked as only the other side may, opcode " + std::to_string(op), in, {"text before", "failed 1002 mask"}});
    }
    return all;
}

std::vector<conversation> reserved() {
    std::vector<conversation> all;
    for (unsigned rsv = 1; rsv <= 7; ++rsv) {
        for (const unsigned op : {0U, 1U, 2U, 8U, 9U, 10U}) {
            std::vector<part> in{text_("before")};
            if (op == 0) in.push_back(text_("begun", false));
            in.push_back({op, op == 8 ? std::string{"\x03\xE8"} : "x", true, rsv});
            in.push_back(ping_("behind"));
            all.push_back({"5.2 reserved bits " + std::to_string(rsv) + ", opcode " + std::to_string(op), in, {"text before", reserved_bits}});
        }
    }
    for (const unsigned op : {3U, 4U, 5U, 6U, 7U, 11U, 12U, 13U, 14U, 15U}) {
        for (const std::size_t size : {0U, 1U, 130U}) {
            all.push_back({"5.2 reserved opcode " + std::to_string(op) + ", " + std::to_string(size) + " bytes",
                           {text_("before"), {op, filler(size)}, ping_("behind")},
                           {"text before", reserved_opcode}});
        }
        all.push_back({"5.2 reserved opcode " + std::to_string(op) + " inside a message",
                       {text_("begun", false), {op, ""}},
                       {reserved_opcode}});
    }
    return all;
}

std::vector<conversation> fragmentation() {
    std::vector<conversation> all{
        {"5.4 two fragments", {text_("Hel", false), more_("lo")}, {"text Hello"}},
        {"5.4 an empty first fragment", {text_("", false), more_("x")}, {"text x"}},
        {"5.4 an empty last fragment", {binary_("x", false), more_("")}, {"binary x"}},
        {"5.4 nothing but empty fragments", {text_("", false), more_("", false), more_("")}, {"text "}},
        {"5.4 a ping between fragments", {text_("a", false), ping_("p"), more_("b")}, {"text ab"}, {"pong p"}},
        {"5.4 a ping behind each of three fragments",
         {binary_("a", false), ping_("1"), more_("b", false), ping_("2"), more_("c"), ping_("3")},
         {"binary abc"},
         {"pong 1", "pong 2", "pong 3"}},
        {"5.4 a pong between fragments", {text_("a", false), pong_("p"), more_("b")}, {"pong p", "text ab"}},
        {"5.4 a close frame between fragments", {text_("a", false), close_(1000), more_("b")}, {"close 1000 "}, {"close 1000"}},
        {"5.4 fragmented messages back to back", {text_("a", false), more_("b"), binary_("c", false), more_("d")}, {"text ab", "binary cd"}},
        {"5.4 fragments with lengths of 7, 16 and 64 bits",
         {binary_(filler(5), false), more_(filler(300), false), more_(filler(66000))},
         {"binary " + filler(5) + filler(300) + filler(66000)}},
    };
    for (const bool fin : {true, false}) {
        const std::string which = fin ? "last" : "middle";
        all.push_back({"5.4 a " + which + " fragment without a first one", {more_("x", fin), text_("behind")}, {no_message}});
        all.push_back({"5.4 a " + which + " fragment behind a whole message", {text_("a"), more_("x", fin)}, {"text a", no_message}});
        all.push_back({"5.4 a " + which + " fragment behind a fragmented message",
                       {text_("a", false), more_("b"), more_("x", fin)},
                       {"text ab", no_message}});
        for (const unsigned op : {1U, 2U}) {
            all.push_back({"5.4 a new message inside one, opcode " + std::to_string(op) + ", " + which,
                           {text_("begun", false), ping_("p"), {op, "x", fin}},
                           {not_finished},
                           {"pong p"}});
        }
    }
    return all;
}

std::vector<conversation> controls() {
    std::vector<conversation> all;
    for (std::size_t size = 0; size <= 125; ++size) {
        all.push_back({"5.5.2 a ping of " + std::to_string(size) + " bytes", {ping_(filler(size))}, {}, {"pong " + filler(size)}});
    }
    for (const std::size_t size : {0U, 1U, 125U}) {
        all.push_back({"5.5.3 a pong that nobody asked for, " + std::to_string(size) + " bytes",
                       {pong_(filler(size)), ping_("p")},
                       {"pong " + filler(size)},
                       {"pong p"}});
    }
    for (const unsigned op : {8U, 9U, 10U}) {
        const std::string which = ", opcode " + std::to_string(op);
        for (const std::size_t size : {126U, 127U, 65536U}) {
            all.push_back({"5.5 a control frame of " + std::to_string(size) + " bytes" + which,
                           {text_("before"), {op, filler(size)}},
                           {"text before", control_too_long}});
        }
        all.push_back({"5.5 a fragmented control frame" + which, {text_("before"), {op, "", false}}, {"text before", control_fragmented}});
        all.push_back({"5.5 a fragmented control frame inside a message" + which,
                       {text_("begun", false), {op, "", false}},
                       {control_fragmented}});
    }
    std::vector<part> in;
    lines out;
    for (int i = 0; i < 50; ++i) {
        in.push_back(ping_(std::to_string(i)));
        out.push_back("pong " + std::to_string(i));
    }
    all.push_back({"5.5.2 fifty pings at once", in, {}, out});
    return all;
}

std::vector<conversation> texts() {
    std::vector<conversation> all;
    const auto valid = [&all](const std::string& text) {
        all.push_back({"8.1 valid text", {text_(text)}, {"text " + text}});
        for (std::size_t cut = 0; cut <= text.size(); ++cut) {
            all.push_back({"8.1 valid text cut at " + std::to_string(cut), {text_(text.substr(0, cut), false), more_(text.substr(cut))}, {"text " + text}});
        }
    };
    for (const char* text : {"\x7F", "\xC2\x80", "\xDF\xBF", "\xE0\xA0\x80", "\xE0\xBF\xBF", "\xEC\xBF\xBF", "\xED\x80\x80", "\xED\x9F\xBF",
                             "\xEE\x80\x80", "\xEF\xBB\xBF", "\xEF\xBF\xBD", "\xEF\xBF\xBE", "\xEF\xBF\xBF", "\xF0\x90\x80\x80",
                             "\xF0\x9F\xBF\xBE", "\xF3\xBF\xBF\xBF", "\xF4\x80\x80\x80", "\xF4\x8F\xBF\xBD", "\xF4\x8F\xBF\xBF",
                             "Hello-\xC2\xB5@\xC3\x9F\xC3\xB6\xE6\x97\xA5\xF0\x9F\x98\x80"}) {
        valid(text);
    }
    valid(std::string{'\0', 'a', '\0'});

    const auto invalid = [&all](const std::string& text) {
        all.push_back({"8.1 invalid text", {text_("before"), text_(text), text_("behind")}, {"text before", not_text}});
        all.push_back({"8.1 invalid text behind sixteen bytes of ASCII", {text_(filler(16) + text + "x")}, {not_text}});
        for (std::size_t cut = 0; cut <= text.size(); ++cut) {
            all.push_back({"8.1 invalid text cut at " + std::to_string(cut), {text_(text.substr(0, cut), false), more_(text.substr(cut))}, {not_text}});
        }
        all.push_back({"8.1 it is valid binary", {binary_(text)}, {"binary " + text}});
        all.push_back({"5.5.1 it is no reason", {close_(1000, text)}, {"failed 1007 close reason is not UTF-8"}});
    };
    for (const char* text :
         {"\x80", "\xBF", "\xC0\x80", "\xC1\xBF", "\xC2", "\xC2\x20", "\xC2\xC2\x80", "\xDF", "\xE0", "\xE0\x80\x80", "\xE0\x9F\xBF", "\xE0\xA0",
          "\xE1\x80", "\xED\xA0\x80", "\xED\xAF\xBF", "\xED\xB0\x80", "\xED\xBF\xBF", "\xED\xA0\x80\xED\xB0\x80", "\xEF\xBF", "\xF0",
          "\xF0\x80\x80\x80", "\xF0\x8F\xBF\xBF", "\xF0\x90", "\xF0\x90\x80", "\xF4\x90\x80\x80", "\xF4\xBF\xBF\xBF", "\xF5\x80\x80\x80",
          "\xF7\xBF\xBF\xBF", "\xF8\x88\x80\x80\x80", "\xFB\xBF\xBF\xBF\xBF", "\xFC\x84\x80\x80\x80\x80", "\xFD\xBF\xBF\xBF\xBF\xBF",
          "\xFE", "\xFF", "\xFE\xFF", "abc\xFFxyz", "\xCE\xBA\xE1\xBD\xB9\xED\xA0\x80" "ed"}) {
        invalid(text);
    }
    return all;
}

std::vector<conversation> closing() {
    std::vector<conversation> all{
        {"5.5.1 without a code", {text_("before"), {8, ""}, text_("behind")}, {"text before", "close 1005 "}, {"close"}},
        {"5.5.1 one byte", {{8, "\x03"}}, {"failed 1002 close frame is too short"}},
        {"5.5.1 a reason of 123 bytes", {close_(1000, filler(123))}, {"close 1000 " + filler(123)}, {"close 1000"}},
        {"5.5.1 a reason in characters of two bytes", {close_(1001, "\xC3\xA9\xC3\xA9")}, {"close 1001 \xC3\xA9\xC3\xA9"}, {"close 1001"}},
        {"5.5.1 a ping before it", {ping_("p"), close_(1000)}, {"close 1000 "}, {"pong p", "close 1000"}},
        {"5.5.1 messages behind it", {close_(1000), text_("x"), binary_("y")}, {"close 1000 "}, {"close 1000"}},
        {"5.5.1 a ping behind it", {close_(1000), ping_("x")}, {"close 1000 "}, {"close 1000"}},
        {"5.5.1 another one behind it", {close_(1000), close_(1001)}, {"close 1000 "}, {"close 1000"}},
        {"5.5.1 nonsense behind it", {close_(1000), {15, "x", false, 7}}, {"close 1000 "}, {"close 1000"}},
    };
    for (const unsigned code : {1000U, 1001U, 1002U, 1003U, 1007U, 1008U, 1009U, 1010U, 1011U, 1012U, 1013U, 1014U, 3000U, 3008U, 3999U, 4000U, 4999U}) {
        const std::string number = std::to_string(code);
        all.push_back({"7.4 code " + number, {close_(code)}, {"close " + number + " "}, {"close " + number}});
        all.push_back({"7.4 code " + number + " with a reason", {close_(code, "why")}, {"close " + number + " why"}, {"close " + number}});
    }
    for (const unsigned code : {0U, 1U, 999U, 1004U, 1005U, 1006U, 1015U, 1016U, 1100U, 1999U, 2000U, 2999U, 5000U, 9999U, 65535U}) {
        all.push_back({"7.4 code " + std::to_string(code) + ", which must not be sent", {text_("before"), close_(code, "why")}, {"text before", bad_code}});
    }
    return all;
}

/// Takes control frames apart by the book: "pong x", "close 1000".
lines read_controls(const bytes& wire, role from) {
    lines out;
    for (std::size_t at = 0; at < wire.size();) {
        const auto byte = [&](std::size_t i) { return std::to_integer<unsigned>(wire.at(at + i)); };
        const std::size_t size = byte(1) & 0x7FU;
        const bool masked = (byte(1) & 0x80U) != 0;
        if ((byte(0) & 0xF0U) != 0x80 || size > 125 || masked != (from == role::client)) return {"malformed"};
        const std::size_t head = masked ? 6 : 2;
        std::string payload;
        for (std::size_t i = 0; i < size; ++i) payload += static_cast<char>(byte(head + i) ^ (masked ? byte(2 + i % 4) : 0));
        const unsigned op = byte(0) & 0x0FU;
        at += head + size;
        if (op == 8) {
            const auto code = payload.size() < 2 ? 0U
                                                 : static_cast<unsigned>(static_cast<unsigned char>(payload[0])) << 8U |
                                                       static_cast<unsigned char>(payload[1]);
            out.push_back(code == 0 ? "close" : "close " + std::to_string(code) + payload.substr(2));
        } else {
            out.push_back((op == 9 ? "ping " : op == 10 ? "pong " : "data ") + payload);
        }
    }
    return out;
}

struct outcome {
    lines events;
    lines out;
    bool operator==(const outcome&) const = default;
};

/// One side, driven as a connection drives it.
class driven {
public:
    explicit driven(role self) : role_{self}, machine_{self, options(), time_point{1000s}, 7} {}

    void feed(bytes_view input) {
        while (!input.empty()) {
            std::size_t size = input.size();
            if (const mutable_bytes span = machine_.want(); !span.empty()) {
                size = std::min(size, span.size());
                std::memcpy(span.data(), input.data(), size);
                machine_.handle_direct(size, time_point{1000s});
            } else {
                machine_.handle(slice::copy(input), time_point{1000s});
            }
            input = input.subspan(size);
            drain();
        }
    }
    [[nodiscard]] outcome result() const { return {events_, read_controls(wire_, role_)}; }

private:
    static const session_options& options() {
        static const session_options calm{.messages_per_second = 0, .controls_per_second = 0};
        return calm;
    }
    void drain() {
        do {
            while (auto event = machine_.poll_event()) events_.push_back(line_of(*event));
            std::array<std::byte, websocket::max_control_frame> frame;
            while (const std::size_t size = machine_.poll_control(frame)) {
                wire_.insert(wire_.end(), frame.begin(), frame.begin() + static_cast<std::ptrdiff_t>(size));
            }
        } while (machine_.pending_input());
    }
    static std::string line_of(const session_event& event) {
        if (const auto* message = std::get_if<message_received>(&event)) return name(message->opcode) + " " + to_text(message->payload.view());
        if (const auto* answer = std::get_if<pong_received>(&event)) return "pong " + to_text(answer->payload.view());
        if (const auto* close = std::get_if<close_received>(&event)) return "close " + std::to_string(static_cast<unsigned>(close->code)) + " " + close->reason;
        const auto& failure = std::get<session_failed>(event);
        CHECK(failure.send_close);
        CHECK(failure.reason.size() <= 123);
        const bool of_the_mask = failure.reason == "frame is not masked" || failure.reason == "frame is masked";
        return "failed " + std::to_string(static_cast<unsigned>(failure.code)) + " " + (of_the_mask ? "mask" : failure.reason);
    }

    role role_;
    session_machine machine_;
    lines events_;
    bytes wire_;
};

void check(const std::vector<conversation>& all) {
    for (const conversation& one : all) {
        CAPTURE(one.name);
        for (const role self : {role::server, role::client}) {
            bytes input;
            for (const part& p : one.in) input = input + p.wire(self);
            const bytes_view whole{input};
            const outcome expected{one.events, one.out};
            const auto found = [&](std::size_t first, std::size_t step) {
                driven side{self};
                side.feed(whole.first(std::min(first, whole.size())));
                for (std::size_t at = std::min(first, whole.size()); at < whole.size(); at += step) {
                    side.feed(whole.subspan(at, std::min(step, whole.size() - at)));
                }
                return side.result();
            };
            const outcome at_once = found(whole.size(), 1);
            CHECK(at_once.events == expected.events);
            CHECK(at_once.out == expected.out);
            if (at_once != expected) break;
            for (const std::size_t step : {1U, 2U, 3U, 5U, 1000U}) {
                if (whole.size() / step > 10'000) continue;  // the long ones: 1,000 at a time, and at some places below
                CHECK_MESSAGE(found(0, step) == expected, "in steps of ", step);
            }
            const std::size_t stride = std::max<std::size_t>(1, whole.size() / 200);
            for (std::size_t split = 1; split < whole.size(); split += split < 32 ? 1 : stride) {
                CHECK_MESSAGE(found(split, whole.size()) == expected, "split at ", split);
            }
        }
    }
    CHECK(all.size() >= 20);
}

}  // namespace

TEST_CASE("conformance: framing and masking") { check(framing()); }
TEST_CASE("conformance: reserved bits and opcodes") { check(reserved()); }
TEST_CASE("conformance: fragmentation") { check(fragmentation()); }
TEST_CASE("conformance: pings, pongs and what control frames may be") { check(controls()); }
TEST_CASE("conformance: text is UTF-8") { check(texts()); }
TEST_CASE("conformance: closing") { check(closing()); }

TEST_CASE("conformance: text is refused at its first impossible byte, in a frame and in a message that both go on") {
    struct fail_fast {
        std::string text;
        std::size_t bad;  ///< Where the first byte lies after which it can never become text.
    };
    const std::vector<fail_fast> all{
        {"\x80", 0},         {"\xC0\x80", 0},         {"\xC1\xBF", 0},         {"\xC2\x20", 1},         {"\xE0\x9F\xBF", 1},
        {"\xE1\x80\x20", 2}, {"\xED\xA0\x80", 1},     {"\xF0\x8F\xBF\xBF", 1}, {"\xF0\x90\x80\x20", 3}, {"\xF4\x90\x80\x80", 1},
        {"\xF5\x80", 0},     {"\xF8\x88\x80\x80", 0}, {"\xFF", 0},             {"ab\xFE", 2},           {"\xCE\xBA\xED\xA0", 3}};
    for (const fail_fast& one : all) {
        for (const std::size_t ahead : {0U, 1U, 15U, 16U, 17U, 100U}) {
            for (const role self : {role::server, role::client}) {
                const std::string text = filler(ahead) + one.text;
                const bytes wire = part{1, text + filler(5000), false}.wire(self);
                const std::size_t head = wire.size() - text.size() - 5000;
                driven side{self};
                side.feed(bytes_view{wire}.first(head + ahead + one.bad));
                CHECK(side.result().events.empty());
                side.feed(bytes_view{wire}.subspan(head + ahead + one.bad, 1));
                CHECK(side.result().events == lines{not_text});
            }
        }
    }
}

TEST_CASE("conformance: messages of every size up to the limit and none beyond, in pieces of any size") {
    const session_options small{.max_binary_message = 300, .max_text_message = 200, .messages_per_second = 0};
    for (const unsigned op : {1U, 2U}) {
        const std::size_t limit = op == 1 ? small.max_text_message : small.max_binary_message;
        for (std::size_t size = 0; size <= limit + 1; ++size) {
            const bytes wire = part{op, filler(size)}.wire(role::server);
            for (const std::size_t step : {std::size_t{1}, std::size_t{64}, wire.size()}) {
                session_machine machine{role::server, small, time_point{1000s}};
                std::optional<session_event> event;
                for (std::size_t at = 0; at < wire.size() && !event; at += step) {
                    machine.handle(slice::copy(bytes_view{wire}.subspan(at, std::min(step, wire.size() - at))), time_point{1000s});
                    event = machine.poll_event();
                }
                REQUIRE(event.has_value());
                if (size <= limit) CHECK(std::get<message_received>(*event).payload.size() == size);
                else CHECK(std::get<session_failed>(*event).code == close_code::message_too_big);
            }
        }
    }
}
