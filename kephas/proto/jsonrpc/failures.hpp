#pragma once

#include <kephas/proto/json/value.hpp>

#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>

namespace kephas {

/// Throw it in a handler to answer with an error of your choice; every other exception is answered by -32603
/// "Internal error" and logged.
class request_error : public std::runtime_error {
public:
    explicit request_error(const std::string& message, std::optional<json> data = {})
        : request_error{-32000, message, std::move(data)} {}
    request_error(std::int64_t code, const std::string& message, std::optional<json> data = {})
        : std::runtime_error{message}, code_{code}, data_{std::move(data)} {}

    [[nodiscard]] std::int64_t code() const noexcept { return code_; }
    [[nodiscard]] const std::optional<json>& data() const noexcept { return data_; }

private:
    std::int64_t code_;
    std::optional<json> data_;
};

/// The peer answered a call with a JSON-RPC error.
class rpc_failure : public std::runtime_error {
public:
    rpc_failure(std::int64_t code, std::string peer_message, json data)
        : std::runtime_error{"the peer answered with a JSON-RPC error"},
          code_{code},
          peer_message_{std::move(peer_message)},
          data_{std::move(data)} {}

    [[nodiscard]] std::int64_t code() const noexcept { return code_; }
    [[nodiscard]] const std::string& peer_message() const noexcept { return peer_message_; }  ///< Not to be trusted.
    [[nodiscard]] const json& data() const noexcept { return data_; }

private:
    std::int64_t code_;
    std::string peer_message_;
    json data_;
};

}  // namespace kephas
