#pragma once

#include <kephas/base/bytes.hpp>

#include <cstdint>

namespace kephas::websocket {

/// Checks UTF-8 (RFC 3629) as it arrives, in pieces of any size.
class utf8_checker {
public:
    /// Whether everything so far can still become valid text; once false, always false.
    [[nodiscard]] bool consume(bytes_view bytes) noexcept;
    /// Whether everything so far is valid text, with no character left unfinished.
    [[nodiscard]] bool complete() const noexcept { return state_ == 0; }
    void reset() noexcept { state_ = 0; }

private:
    std::uint8_t state_ = 0;  // of the automaton: 0 accepts, 1 rejects for good
};

/// Whether `bytes` are valid UTF-8.
[[nodiscard]] inline bool is_utf8(bytes_view bytes) noexcept {
    utf8_checker checker;
    return checker.consume(bytes) && checker.complete();
}

}  // namespace kephas::websocket
