#pragma once

#include <kephas/base/payload.hpp>

#include <kephas/proto/command/frame.hpp>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>

namespace kephas {

/// A message on its way to the server, not encoded yet: how it looks is the connection's business, and which one that will
/// be is not known.
struct outgoing {
    std::optional<command_id> command{};  ///< None: text.
    payload body{};
    std::uint64_t waiter = 0;      ///< The call or request that waits for the answer; 0: none does.
    std::uint64_t generation = 0;  ///< The connection it belongs to; 0: any.
    bool is_error = false;         ///< Text that is the error of a call, which some wires tell from other text.
    bool urgent = false;           ///< As it was pushed.

    [[nodiscard]] std::size_t size() const noexcept { return body.size() + (command ? command_id_size : 0); }
};

/// The messages that wait to be sent, in order, bounded in number and bytes; one always fits an empty queue. Those that
/// belong to one connection and are urgent leave first, and have bounds of their own, as large: others may have to wait for
/// them. What was taken counts until it is known to have left. Pure.
class outgoing_queue {
public:
    outgoing_queue(std::size_t max_messages, std::size_t max_bytes) noexcept
        : max_messages_{max_messages}, max_bytes_{max_bytes} {}

    [[nodiscard]] bool has_room(std::size_t size, bool urgent = false) const noexcept {
        const lane& of = urgent ? urgent_ : ordinary_;
        return of.messages == 0 || (of.messages < max_messages_ && of.bytes <= max_bytes_ && size <= max_bytes_ - of.bytes);
    }
    /// False if there is no room: then `message` is as it was.
    [[nodiscard]] bool push(outgoing&& message, bool urgent = false);
    /// The next one, which the caller is about to send; if `urgent_only`, of those.
    [[nodiscard]] std::optional<outgoing> take(bool urgent_only);
    /// One that was taken has left.
    void sent(const outgoing& message) noexcept;
    /// One that was taken has not left, and comes first again: to be called for the last one first.
    void put_back(outgoing&& message);
    /// Drops what belongs to a connection, or waits for an answer: nobody waits for that any more. Returns how many.
    std::size_t drop_bound();
    /// Drops what waits for an answer, and was not taken yet. Returns how many.
    std::size_t withdraw_all();
    /// Drops the message of `waiter`, if it was not taken yet.
    bool withdraw(std::uint64_t waiter);
    /// Drops all but what was taken. Returns how many.
    std::size_t clear() noexcept;

    [[nodiscard]] bool empty() const noexcept { return messages() == 0; }  ///< And nothing that was taken is missing.
    [[nodiscard]] std::size_t messages() const noexcept { return urgent_.messages + ordinary_.messages; }
    [[nodiscard]] std::size_t bytes() const noexcept { return urgent_.bytes + ordinary_.bytes; }

private:
    struct lane {
        std::deque<outgoing> waiting;
        std::size_t messages = 0;  // with those that were taken
        std::size_t bytes = 0;
        void forget(const outgoing& message) noexcept {
            --messages;
            bytes -= message.size();
        }
    };
    [[nodiscard]] lane& of(const outgoing& message) noexcept { return message.urgent ? urgent_ : ordinary_; }
    template <class Predicate>
    std::size_t drop_if(Predicate unwanted);

    std::size_t max_messages_;
    std::size_t max_bytes_;
    lane urgent_;
    lane ordinary_;
};

}  // namespace kephas
