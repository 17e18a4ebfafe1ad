#pragma once

#include "load.hpp"
#include "schedule.hpp"
#include "server_address.hpp"
#include "workload.hpp"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>

namespace bench {

/// The load on connections that are opened beforehand and stay.
class generator final : public load {
public:
    /// Everything must outlive it.
    generator(const options&, const server_address&, const tls_settings&, std::size_t index);

    void prepare() override { connect(share_); }

    /// Opens connections, one after the other, until there are `count`.
    void connect(std::size_t count);

    [[nodiscard]] std::size_t say_goodbye() override;

private:
    void begin(const plan&) override;
    void catch_up(const plan&) override;
    void on_event(void* who, std::uint32_t what) override;
    void replace(connection&, std::size_t answered);
    void ask_one(connection&);
    void publish();
    void flush(connection&);

    const server_address& server_;
    const tls_settings& tls_;
    workload workload_;
    std::deque<connection> connections_;
    std::optional<schedule> schedule_;  // of the open loop
    std::uint64_t scheduled_ = 0;       // its messages that were asked for
    std::size_t ended_ = 0;
};

}  // namespace bench
