#pragma once

#include "handshake.hpp"
#include "load.hpp"
#include "server_address.hpp"
#include "workload.hpp"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <vector>

namespace bench {

/// The load of connections that come and go. Each place among them is taken by one after the other: TCP, the handshake
/// of a browser, one message and its echo, the close handshake, and the end of the stream, which is the server's to
/// begin (RFC 6455 section 7.1.1). What is counted and timed is the whole of that.
class reconnector final : public load {
public:
    /// Everything must outlive it.
    reconnector(const options&, const server_address&, std::size_t index);

    /// One whole connection, not counted.
    void prepare() override;

    /// There are none left by then: how many have ended properly.
    [[nodiscard]] std::size_t say_goodbye() override { return clean_closes_; }

private:
    struct place {
        std::uint64_t number = 0;  // of the connection, and of its message
        std::int64_t begun = 0;
        const handshake_key* key = nullptr;
        std::string unsent{};              // of the request
        std::string answer{};              // to it, as far as it has come
        std::optional<channel> opening{};  // until the handshake is done
        std::optional<connection> open{};  // from then on
        bool waits_for_room = false;       // in the socket
    };

    void begin(const plan&) override;
    void on_event(void* who, std::uint32_t what) override;
    void open(place&);
    void shake_hands(place&);
    void converse(place&);
    void end(place&);
    void wait_for_room(place&, bool);
    [[noreturn]] static void fail(const place&, const std::string& what);

    const server_address& server_;
    workload workload_;
    recorder echoes_;  // of the single messages; of no interest
    std::vector<handshake_key> keys_;
    std::vector<std::string> requests_;
    std::deque<place> places_;
    std::uint64_t begun_ = 0;  // connections
    std::size_t clean_closes_ = 0;
};

}  // namespace bench
