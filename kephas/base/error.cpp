#include <kephas/base/error.hpp>

namespace kephas {

namespace {

class kephas_category_type final : public std::error_category {
public:
    [[nodiscard]] const char* name() const noexcept override { return "kephas"; }
    [[nodiscard]] std::string message(int value) const override {
        switch (static_cast<errc>(value)) {
            case errc::closed: return "the client has left or is leaving";
            case errc::full: return "the outbox is full";
            case errc::timed_out: return "the deadline passed before the answer came";
            case errc::overloaded: return "too many calls or bytes are pending for this client";
            case errc::not_reading: return "on_connect cannot wait for the client: nothing is read before it returns";
            case errc::already_running: return "server already running";
            case errc::address_in_use: return "the address is already in use";
            case errc::invalid_address: return "not an address";
            case errc::client_not_found: return "client not found";
            case errc::invalid_response: return "the peer answered with something that is not a JSON-RPC response";
            case errc::invalid_certificate: return "the certificate or key cannot be used";
            case errc::certificate_expired: return "the server's certificate is not valid at this time";
            case errc::certificate_name_mismatch: return "the server's certificate is for another name";
            case errc::certificate_not_trusted: return "nobody who is trusted has issued the server's certificate";
            case errc::truncated: return "the TLS stream was cut off";
            case errc::not_connected: return "there is no connection";
            case errc::too_big: return "more than the limit";
            case errc::invalid_handshake: return "the peer broke the protocol of the opening handshake";
        }
        return "unknown error";
    }
    [[nodiscard]] std::error_condition default_error_condition(int value) const noexcept override {
        switch (static_cast<errc>(value)) {
            case errc::closed:
            case errc::not_connected:
            case errc::truncated: return condition::peer_gone;
            case errc::full:
            case errc::overloaded: return condition::overloaded;
            case errc::timed_out: return condition::timed_out;
            case errc::invalid_handshake:
            case errc::invalid_response: return condition::protocol_violation;
            case errc::too_big: return condition::too_big;
            case errc::certificate_expired:
            case errc::certificate_name_mismatch:
            case errc::certificate_not_trusted: return condition::unauthorized;
            default: return {value, *this};
        }
    }
};

class condition_category_type final : public std::error_category {
public:
    [[nodiscard]] const char* name() const noexcept override { return "kephas.condition"; }
    [[nodiscard]] std::string message(int value) const override {
        switch (static_cast<condition>(value)) {
            case condition::protocol_violation: return "protocol violation";
            case condition::too_big: return "too big";
            case condition::peer_gone: return "peer gone";
            case condition::overloaded: return "overloaded";
            case condition::unauthorized: return "unauthorized";
            case condition::timed_out: return "timed out";
        }
        return "unknown condition";
    }
};

}  // namespace

const std::error_category& kephas_category() noexcept {
    static const kephas_category_type category;
    return category;
}

const std::error_category& condition_category() noexcept {
    static const condition_category_type category;
    return category;
}

std::error_code make_error_code(errc code) noexcept { return {static_cast<int>(code), kephas_category()}; }

std::error_condition make_error_condition(condition value) noexcept {
    return {static_cast<int>(value), condition_category()};
}

}  // namespace kephas
