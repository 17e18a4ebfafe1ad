#pragma once

#include "options.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace bench {

/// JSON-RPC 2.0 calls that differ in their ids, and the replies to them, which may come in any order and shape.
class calls {
public:
    static constexpr std::size_t id_digits = 8;  ///< Of every id: all calls have the same size.

    explicit calls(const options&);

    [[nodiscard]] const std::string& before_id() const noexcept { return before_; }  ///< Of a call.
    [[nodiscard]] const std::string& after_id() const noexcept { return after_; }

    [[nodiscard]] static std::array<std::uint8_t, id_digits> id_of(std::uint64_t number) noexcept;

    /// The number of the call that this is the reply to, from `oldest` on. Throws server_fault if it is not a result,
    /// not the expected one, or without an id of ours.
    [[nodiscard]] std::uint64_t answered(std::string_view reply, std::uint64_t oldest);

private:
    [[nodiscard]] std::string_view checked_id(std::string_view reply);

    std::string before_;
    std::string after_;
    std::optional<std::string> expected_;
    bool echo_;
    // A reply that differs from a right one in nothing but the digits of its id is right: most are not taken apart.
    bool known_ = false;
    std::string known_before_;
    std::string known_after_;
};

}  // namespace bench
