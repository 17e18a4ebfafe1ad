#include <kephas/proto/session/reconnection.hpp>

#include <kephas/base/error.hpp>

#include <algorithm>

namespace kephas {

bool worth_reconnecting(const connection_end& end) noexcept {
    if (end.status != 0) {
        if (end.status >= 500) return end.status != 501 && end.status != 505;
        return end.status == 408 || end.status == 425 || end.status == 429;
    }
    return may_reconnect(end.code);
}

std::optional<duration> reconnection::ended(const connection_end& end, time_point now, std::uint64_t random) {
    if (connected_at_) {
        if (now - *connected_at_ >= options_->stable_after) {
            attempts_ = 0;
            lost_at_.reset();
        }
        connected_at_.reset();
    }
    if (!lost_at_) lost_at_ = now;
    if (!options_->enabled) return std::nullopt;
    const std::optional<bool> decided = options_->decide ? options_->decide(end) : std::nullopt;
    if (!decided.value_or(worth_reconnecting(end))) return std::nullopt;
    if (options_->max_attempts > 0 && attempts_ >= options_->max_attempts) return std::nullopt;
    const duration delay = next_delay(end, random);
    if (options_->max_elapsed > duration::zero() && now - *lost_at_ + delay > options_->max_elapsed) return std::nullopt;
    ++attempts_;
    return delay;
}

/// What the server asks for comes before the random part, so that its clients do not all come back at once.
duration reconnection::next_delay(const connection_end& end, std::uint64_t random) const noexcept {
    static constexpr duration for_ever = std::chrono::hours{24 * 365};  // what adds up below overflows nothing
    const duration cap = std::clamp(options_->cap, duration::zero(), for_ever);
    duration most = std::clamp(options_->base, duration::zero(), cap);
    for (std::uint32_t n = 0; n < attempts_ && most < cap && most > duration::zero(); ++n) {
        most = std::min(cap, most * 2);
    }
    const double share = static_cast<double>(random >> 11U) / 9007199254740991.0;  // 2^53 - 1: both ends are possible
    const duration jitter{static_cast<duration::rep>(share * static_cast<double>(most.count()))};
    const duration asked = std::clamp(end.retry_after.value_or(duration::zero()), duration::zero(),
                                      std::clamp(options_->max_retry_after, duration::zero(), for_ever));
    return asked + std::min(jitter, most);
}

}  // namespace kephas
