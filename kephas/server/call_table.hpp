#pragma once

#include <kephas/proto/json/value.hpp>
#include <kephas/proto/jsonrpc/message.hpp>

#include <kephas/net/parked.hpp>

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <system_error>
#include <unordered_map>

namespace kephas {

/// A call from the server to a client that waits for its answer.
struct pending_call {
    parked_ptr waiter;  ///< Set once the caller is suspended.
    bool done = false;
    std::error_code failure;
    std::optional<json> result;
    std::optional<jsonrpc::error_object> refusal;
};

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
        std::unordered_map<std::uint64_t, std::shared_ptr<pending_call>> calls;
        std::uint64_t last_id = 0;
        bool closed = false;
    };

    [[nodiscard]] static table* never() noexcept;
    [[nodiscard]] table* existing() const noexcept;
    static void finish_locked(pending_call& call, std::error_code failure);
    static void finish_all_locked(table& all, std::error_code failure);

    // Null until the first call makes it, and then it stays; `never()` if `close` came first.
    std::atomic<table*> table_{nullptr};
};

}  // namespace kephas
