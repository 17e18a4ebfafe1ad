#pragma once

#include <kephas/net/memory_stream.hpp>

#include <support/test_client.hpp>

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace kephas::test {

/// What a client has seen, one line for each: "HTTP/1.1 101 Switching Protocols", "text hello", "binary ...", "ping",
/// "pong x", "close 1001 reason", and at last "end" or "reset".
using events = std::vector<std::string>;

/// A WebSocket client on a connection in memory. It never waits: it sends, and takes what has come. Written without any
/// code of kephas's protocol.
class memory_client {
public:
    explicit memory_client(memory_link link) : link_{std::move(link)} {}

    void send_raw(std::string_view bytes) { link_.to_server().write(bytes); }
    void send_handshake(std::string_view target = "/ws", std::string_view headers = {}) {
        send_raw(handshake(target, headers));
    }
    void send_frame(int opcode, std::string_view payload, bool fin = true) {
        send_raw(test_client::frame(opcode, payload, fin));
    }
    void send_text(std::string_view text) { send_frame(1, text); }
    void send_command(std::uint32_t id, std::string_view payload) { send_frame(2, test_client::command(id, payload)); }
    void send_close(std::uint16_t code, std::string_view reason = {}) { send_frame(8, close_payload(code, reason)); }
    void end() { link_.to_server().end(); }
    void reset() { link_.reset(); }

    [[nodiscard]] static std::string handshake(std::string_view target = "/ws", std::string_view headers = {}) {
        return "GET " + std::string{target} +
               " HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
               "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n" +
               std::string{headers} + "\r\n";
    }
    [[nodiscard]] static std::string close_payload(std::uint16_t code, std::string_view reason = {}) {
        return std::string{static_cast<char>(code >> 8), static_cast<char>(code & 0xFF)}.append(reason);
    }

    /// What has come since the last call.
    [[nodiscard]] events take() {
        received_ += link_.to_client().take();
        events all;
        while (auto event = next()) all.push_back(std::move(*event));
        if (!ended_ && received_.empty() && link_.to_client().at_end()) {
            ended_ = true;
            all.push_back(link_.to_client().was_reset() ? "reset" : "end");
        }
        history_.insert(history_.end(), all.begin(), all.end());
        return all;
    }
    /// Everything that has come so far.
    [[nodiscard]] const events& history() {
        (void)take();
        return history_;
    }
    [[nodiscard]] const memory_link& link() const noexcept { return link_; }

private:
    std::optional<std::string> next() {
        if (!upgraded_) return next_head();
        if (received_.size() < 2) return std::nullopt;
        const auto byte = [this](std::size_t i) { return static_cast<unsigned char>(received_[i]); };
        if ((byte(1) & 0x80) != 0) throw std::runtime_error{"a server must not mask"};
        std::size_t head = 2;
        std::uint64_t size = byte(1) & 0x7F;
        if (size >= 126) {
            const std::size_t width = size == 126 ? 2 : 8;
            head += width;
            if (received_.size() < head) return std::nullopt;
            size = 0;
            for (std::size_t i = 2; i < head; ++i) size = (size << 8) | byte(i);
        }
        if (received_.size() < head + size) return std::nullopt;
        const unsigned first = byte(0);
        const std::string payload = received_.substr(head, size);
        received_.erase(0, head + size);
        std::string line = name(first & 0x0F);
        if ((first & 0xF0) != 0x80) line += " (flags " + std::to_string(first >> 4) + ")";
        if ((first & 0x0F) == 8 && payload.size() >= 2) {
            const int code = static_cast<unsigned char>(payload[0]) << 8 | static_cast<unsigned char>(payload[1]);
            line += " " + std::to_string(code);
            if (payload.size() > 2) line += " " + payload.substr(2);
        } else if (!payload.empty()) {
            line += " " + payload;
        }
        return line;
    }
    std::optional<std::string> next_head() {
        const auto end = received_.find("\r\n\r\n");
        if (end == std::string::npos) return std::nullopt;
        std::string line = received_.substr(0, received_.find("\r\n"));
        upgraded_ = line.starts_with("HTTP/1.1 101 ");
        received_.erase(0, upgraded_ ? end + 4 : received_.size());  // the body of a refusal says nothing more
        return line;
    }
    static std::string name(unsigned opcode) {
        switch (opcode) {
            case 0: return "continuation";
            case 1: return "text";
            case 2: return "binary";
            case 8: return "close";
            case 9: return "ping";
            case 10: return "pong";
            default: return "opcode " + std::to_string(opcode);
        }
    }

    memory_link link_;
    std::string received_;
    events history_;
    bool upgraded_ = false;
    bool ended_ = false;
};

}  // namespace kephas::test
