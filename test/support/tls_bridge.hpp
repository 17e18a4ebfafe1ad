#pragma once

#include <kephas/net/memory_stream.hpp>

#include <support/tls_client.hpp>

#include <asio/io_context.hpp>
#include <asio/post.hpp>

#include <memory>
#include <string>
#include <utility>

namespace kephas::test {

/// The TLS side of a client in memory: what the client writes to and reads from `plain` goes over `wire` in records.
/// It holds no more of what comes than one read, so that a client which does not read stops the server.
class tls_bridge : public std::enable_shared_from_this<tls_bridge> {
public:
    /// `like`: a client that has made its context with the same wishes. `close_notify`: whether the client says so when it
    /// ends its side.
    tls_bridge(asio::io_context& context, memory_link plain, memory_link wire, const tls_client& like,
               const tls_wishes& wishes, bool close_notify)
        : context_{context}, plain_{std::move(plain)}, wire_{std::move(wire)}, tls_{like, wishes}, close_notify_{close_notify} {}

    void start() {
        to_wire_ = tls_.exchange({});
        pump();
    }
    /// Whether the server has ended its side as TLS wants it.
    [[nodiscard]] bool ended_properly() const { return tls_.ended_properly(); }
    /// Whether what came was not TLS.
    [[nodiscard]] bool refused() const noexcept { return refused_; }
    [[nodiscard]] bool established() const { return tls_.established(); }

private:
    void schedule() {
        if (std::exchange(scheduled_, true)) return;
        asio::post(context_, [self = shared_from_this()] { self->pump(); });
    }
    void pump() {
        scheduled_ = false;
        try {
            for (bool moved = true; moved;) {
                const bool up = move_up();
                moved = move_down() || up;
            }
        } catch (const tls_refused&) {
            refused_ = true;
            plain_.reset();
            wire_.reset();
            return;
        }
        const auto again = [weak = weak_from_this()] {
            if (const auto self = weak.lock()) self->schedule();
        };
        if (to_wire_.empty()) (void)plain_.to_server().wait_readable(again);
        else (void)wire_.to_server().wait_writable(again);
        if (to_client_.empty()) (void)wire_.to_client().wait_readable(again);
        else (void)plain_.to_client().wait_writable(again);
    }
    /// Writes what it can of `bytes`; what nobody will read is gone.
    static bool write(memory_pipe& to, std::string& bytes) {
        if (bytes.empty()) return false;
        std::error_code ec;
        const std::size_t size = to.write(as_bytes(bytes), ec);
        const bool lost = ec && ec != asio::error::would_block;
        bytes.erase(0, lost ? bytes.size() : size);
        return size > 0;
    }
    bool move_up() {
        bool moved = write(wire_.to_server(), to_wire_);
        memory_pipe& from = plain_.to_server();
        if (!to_wire_.empty()) return moved;
        if (from.was_reset()) {
            wire_.reset();
        } else if (from.arrived() > 0) {
            if (!tls_.established()) return moved;
            to_wire_ = tls_.encrypt(from.take());
            moved = true;
        } else if (from.at_end() && !ending_) {
            ending_ = true;
            if (close_notify_ && tls_.established()) tls_.send_close_notify_to(to_wire_);
            moved = true;
        } else if (ending_) {
            wire_.to_server().end();
        }
        return moved;
    }
    bool move_down() {
        const bool moved = write(plain_.to_client(), to_client_);
        memory_pipe& from = wire_.to_client();
        if (!to_client_.empty()) return moved;
        if (from.was_reset()) {
            plain_.to_client().reset();
        } else if (from.arrived() > 0) {
            to_wire_ += tls_.exchange(from.take());
            to_client_ = tls_.take_received();
            to_wire_ += tls_.exchange({});
            return true;
        } else if (from.at_end()) {
            plain_.to_client().end();
        }
        return moved;
    }

    asio::io_context& context_;
    memory_link plain_;
    memory_link wire_;
    tls_client tls_;
    bool close_notify_;
    std::string to_wire_;    // what it has no room for
    std::string to_client_;  // and what the client has none for
    bool scheduled_ = false;
    bool ending_ = false;
    bool refused_ = false;
};

}  // namespace kephas::test
