#pragma once

#include <kephas/proto/command/wire_format.hpp>
#include <kephas/proto/http/response.hpp>

#include <string>
#include <string_view>

namespace kephas {

/// What a stream of commands is told in the place of a response that refuses: a goodbye with the code that fits the status
/// and the first line of its text.
[[nodiscard]] std::string refusal_goodbye(const http::response& refusal);

/// What a refused connection is told, whole, by what it speaks; empty when there is nothing to say.
struct refusal_answers {
    std::string http;
    std::string stream;

    [[nodiscard]] std::string_view in(wire_format format) const noexcept {
        return format == wire_format::stream ? stream : http;
    }
};

}  // namespace kephas
