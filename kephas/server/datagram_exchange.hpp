#pragma once

#include <kephas/net/socket_address.hpp>

#include <kephas/server/client_state.hpp>
#include <kephas/server/job.hpp>

#include <atomic>
#include <cstddef>
#include <memory>
#include <utility>
#include <vector>

namespace kephas {

class datagram_listener;

/// One datagram, from its arrival until its handlers have ended and their replies have left. Lives as long as anybody holds it.
class datagram_exchange {
public:
    /// `bytes` are those of the datagram.
    datagram_exchange(std::shared_ptr<datagram_listener> home, const socket_address& sender, std::shared_ptr<client_state> client,
                      std::size_t bytes);
    datagram_exchange(const datagram_exchange&) = delete;
    datagram_exchange& operator=(const datagram_exchange&) = delete;
    ~datagram_exchange();

    [[nodiscard]] datagram_listener& home() const noexcept { return *home_; }
    [[nodiscard]] const socket_address& sender() const noexcept { return sender_; }
    /// Stands for the sender, who is no client: it has left before anything begins.
    [[nodiscard]] const std::shared_ptr<client_state>& client() const noexcept { return client_; }
    [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }

private:
    std::shared_ptr<datagram_listener> home_;
    socket_address sender_;
    std::shared_ptr<client_state> client_;
    std::size_t bytes_;
};

/// What a datagram brought for handlers that run in the same place. Filled first, then shared.
class datagram_jobs final : public job_source {
public:
    datagram_jobs(std::shared_ptr<datagram_exchange> of, bool on_strand) : of_{std::move(of)}, on_strand_{on_strand} {}

    [[nodiscard]] job& add() { return jobs_.emplace_back(); }
    [[nodiscard]] std::size_t size() const noexcept { return jobs_.size(); }

    [[nodiscard]] job* next() override {
        const std::size_t index = next_.fetch_add(1, std::memory_order_relaxed);
        return index < jobs_.size() ? &jobs_[index] : nullptr;
    }
    [[nodiscard]] bool may_share() const noexcept override {
        return !on_strand_ && next_.load(std::memory_order_relaxed) < jobs_.size();
    }
    [[nodiscard]] bool on_strand() const noexcept override { return on_strand_; }
    [[nodiscard]] bool take_answer(outbound_frame&& frame, bool is_error) override;

private:
    std::shared_ptr<datagram_exchange> of_;
    std::vector<job> jobs_;
    std::atomic<std::size_t> next_{0};
    bool on_strand_;
};

}  // namespace kephas
