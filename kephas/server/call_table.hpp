#pragma once

#include <kephas/proto/jsonrpc/message.hpp>
#include <kephas/proto/jsonrpc/pending_calls.hpp>

#include <kephas/net/parked.hpp>

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <system_error>

namespace kephas {

/// A call from the server to a client that waits for its answer.
using pending_call = jsonrpc::pending_call<parked_ptr>;

/// The calls of one client that wait for their answers. Concurrency: any thread.
/// Most clients are never called: until the first call this is one pointer.
class call_table {
public:
    call_table() = default;
    call_table(const call_table&) = delete;
    call_table& operator=(const call_table&) = delete;
    ~call_table();

    /// A new call and the id to send it under; null when `limit` are pending, or the client has left.
    [[nodiscard]] std::shared_ptr<pending_call> open(std::size_t limit, std::uint64_t& id, std::error_code& ec);
    /// The answer to `id` arrived. False if nobody waits for it (any more).
    bool answer(const std::string& id, jsonrpc::response response);
    /// The peer answered `id` with something that is no response.
    void refuse(const std::string& id, std::error_code why);
    /// Ends the wait for `id` with `why`, if it is still pending.
    void end(std::uint64_t id, std::error_code why);
    /// Ends every wait. After `close` no new call is opened.
    void end_all(std::error_code why);
    void close();

    /// Stores who waits, or returns false if the answer is there already.
    [[nodiscard]] bool wait(pending_call& call, parked_ptr who);
    [[nodiscard]] bool any_pending() const;
    [[nodiscard]] bool is_pending(std::uint64_t id) const;

private:
    struct table {
        std::mutex mutex;
        jsonrpc::pending_calls<parked_ptr> calls;
        bool closed = false;
    };

    [[nodiscard]] static table* never() noexcept;
    [[nodiscard]] table* existing() const noexcept;

    // Null until the first call makes it, and then it stays; `never()` if `close` came first.
    std::atomic<table*> table_{nullptr};
};

}  // namespace kephas
