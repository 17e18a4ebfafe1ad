#pragma once

#include <kephas/base/bytes.hpp>
#include <kephas/base/slice.hpp>

#include <kephas/proto/command/frame.hpp>

#include <optional>
#include <string_view>

namespace kephas {

/// What a server has sent. It owns its bytes; copying it copies a pointer.
struct client_message {
    std::optional<command_id> command{};  ///< None: text.
    slice bytes{};                        ///< Without the id. May be returned as a payload without a copy.

    [[nodiscard]] bytes_view payload() const noexcept { return bytes.view(); }
    [[nodiscard]] std::string_view text() const noexcept { return as_text(bytes.view()); }
};

}  // namespace kephas
