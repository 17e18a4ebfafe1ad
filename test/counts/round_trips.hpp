#pragma once

#include <support/command_stream.hpp>
#include <support/running_server.hpp>
#include <support/test_client.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <sys/socket.h>

namespace kephas::test {

inline constexpr std::uint32_t echo_command = 0x0100;

inline asio::awaitable<std::optional<payload>> echo(request req) { co_return payload{req.share()}; }

[[nodiscard]] inline server_options unlimited_options() {
    server_options options = quiet_options();
    options.rate_limit = no_rate_limit();
    return options;
}

/// Sends the same bytes again and again and reads as many as must come back, without allocating anything.
class round_trips {
public:
    explicit round_trips(std::uint16_t port, std::size_t in_flight, std::size_t size = 32)
        : client_{test_client::open(port)}, in_flight_{in_flight} {
        for (std::size_t i = 0; i < in_flight; ++i) {
            const std::string body(size, static_cast<char>('a' + i % 26));
            out_ += test_client::frame(2, test_client::command(echo_command, body));
            const std::size_t wire = 4 + size;
            answer_size_ += (wire < 126 ? 2U : wire < 65536 ? 4U : 10U) + wire;
        }
    }
    /// `asked` is a text message, and a text message of `answer_size` bytes, at most 125, comes back.
    round_trips(std::uint16_t port, std::size_t in_flight, std::string_view asked, std::size_t answer_size)
        : client_{test_client::open(port)}, in_flight_{in_flight}, answer_size_{in_flight * (2 + answer_size)} {
        for (std::size_t i = 0; i < in_flight; ++i) out_ += test_client::frame(1, asked);
    }
    /// The echo over a stream of commands instead, on a `tcp://` port.
    [[nodiscard]] static round_trips over_stream(std::uint16_t port, std::size_t in_flight, std::size_t size = 32) {
        round_trips made{test_client{port}, in_flight};
        for (std::size_t i = 0; i < in_flight; ++i) {
            made.out_ += stream_message(echo_command, std::string(size, static_cast<char>('a' + i % 26)));
        }
        made.answer_size_ = made.out_.size();
        return made;
    }
    /// At least that many, in whole bursts of `in_flight`.
    void make(std::size_t messages) {
        for (std::size_t done = 0; done < messages; done += in_flight_) {
            client_.send_raw(out_);
            for (std::size_t left = answer_size_; left > 0;) {
                std::array<char, 64 * 1024> buffer;
                const ssize_t got = ::recv(client_.native_handle(), buffer.data(), std::min(left, buffer.size()), 0);
                REQUIRE(got > 0);
                left -= static_cast<std::size_t>(got);
            }
        }
    }

private:
    round_trips(test_client client, std::size_t in_flight) : client_{std::move(client)}, in_flight_{in_flight} {}

    test_client client_;
    std::size_t in_flight_;
    std::string out_;
    std::size_t answer_size_ = 0;
};

}  // namespace kephas::test
