#pragma once

#include <kephas/proto/json/value.hpp>
#include <kephas/proto/jsonrpc/error_object.hpp>
#include <kephas/proto/jsonrpc/message.hpp>
#include <kephas/proto/jsonrpc/request_id.hpp>

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

namespace kephas::jsonrpc {

/// Collects the answers to the messages of one document, in any order, and gives the one text that answers them all,
/// in the order of the requests (JSON-RPC 2.0, section 6). Notifications and responses have no answer; the invalid
/// requests are answered from the start. A document that is not a batch works the same way.
class batch_reply {
public:
    explicit batch_reply(const document& asked);

    /// Answers the message at `index` of the document. Ignored if that one has no answer or is answered already: the
    /// outcome of a notification can be handed over without asking.
    void set_result(std::size_t index, const json& result);
    void set_error(std::size_t index, const error_object& error);

    /// Whether every answer is there; from the start if there is nothing to answer.
    [[nodiscard]] bool complete() const noexcept { return missing_ == 0; }

    /// The reply, once `complete()`. Empty: nothing is to be sent.
    [[nodiscard]] std::string take();

private:
    struct slot {
        std::optional<request_id> waits_for;  // empty: answered, or without an answer
        std::string text;
    };
    void put(std::size_t index, std::string text);

    std::vector<slot> slots_;  // one for each message
    std::size_t missing_ = 0;
    bool batch_ = false;
};

}  // namespace kephas::jsonrpc
