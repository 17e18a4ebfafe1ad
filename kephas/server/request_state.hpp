#pragma once

#include <kephas/base/payload.hpp>

#include <kephas/server/client_state.hpp>
#include <kephas/server/job.hpp>

#include <memory>
#include <optional>

namespace kephas {

/// What a `request` points to while its handler runs, and where the handler's answer is put.
struct request_state {
    const std::shared_ptr<client_state>& from;
    const job* work = nullptr;       ///< Where it waits; it stays there until the handler has ended.
    std::optional<payload> reply{};  ///< Of a command, of text and of `raw`.
    json result{};                   ///< Of a JSON-RPC method.
};

}  // namespace kephas
