#pragma once

#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <variant>

namespace kephas {

/// What exactly went wrong. Each line says the cause and the remedy.
enum class errc {
    closed = 1,         ///< The client has left or is leaving: nothing more can be sent to it.
    full,               ///< The outbox of the client, or of the server, is full: wait, or drop the message.
    timed_out,          ///< The deadline of the call passed before the answer came.
    overloaded,         ///< Too many calls are pending, or too many bytes are held for this client: call less.
    not_reading,        ///< Inside `on_connect` nothing is read yet, so an answer could never arrive: call later.
    already_running,    ///< `run()` or `serve()` was called twice: a server serves once.
    address_in_use,     ///< Somebody else listens there already: choose another port or stop the other program.
    invalid_address,    ///< A listener's address is not one of the forms that `server_options::listen` describes.
    client_not_found,   ///< No client with that id is connected.
    invalid_response,   ///< The peer answered a call with something that is not a JSON-RPC response.
    invalid_certificate,  ///< A certificate or key cannot be used; the text names the file and OpenSSL's reason.
    certificate_expired,         ///< The server's certificate is not valid at this time: it has to be renewed, or a clock is wrong.
    certificate_name_mismatch,   ///< The server's certificate is for other names: connect to one of those.
    certificate_not_trusted,     ///< Nobody who is trusted has issued the server's certificate: name its CA, if it is yours.
    truncated,          ///< A TLS stream ended without its close_notify: look whether what came last is whole.
    not_connected,      ///< There is no connection: connect first.
    too_big,            ///< More has come than the caller wants: read it in parts, or raise the limit.
    invalid_handshake,  ///< What answered is no server for this protocol, or agreed to what was not asked: look where it goes.
};

/// What callers branch on; every `errc` belongs to at most one.
enum class condition {
    protocol_violation = 1,
    too_big,
    peer_gone,
    overloaded,
    unauthorized,
    timed_out,
};

[[nodiscard]] const std::error_category& kephas_category() noexcept;
[[nodiscard]] const std::error_category& condition_category() noexcept;

[[nodiscard]] std::error_code make_error_code(errc code) noexcept;
[[nodiscard]] std::error_condition make_error_condition(condition value) noexcept;

/// What kephas throws. `what()` is always a sentence of ours; what a peer said is kept apart, because it may be hostile.
class error : public std::system_error {
public:
    explicit error(std::error_code code) : std::system_error{code} {}
    error(std::error_code code, const std::string& what) : std::system_error{code, what} {}

    [[nodiscard]] std::string_view peer_text() const noexcept { return peer_text_; }
    error& with_peer_text(std::string text) {
        peer_text_ = std::move(text);
        return *this;
    }

private:
    std::string peer_text_;
};

/// A value, or the reason why there is none. `proto` returns it where the shell would throw.
template <class T, class E = std::error_code>
class [[nodiscard]] result {
public:
    result(T value) : state_{std::in_place_index<0>, std::move(value)} {}
    result(E failure) : state_{std::in_place_index<1>, std::move(failure)} {}

    [[nodiscard]] bool has_value() const noexcept { return state_.index() == 0; }
    explicit operator bool() const noexcept { return has_value(); }

    [[nodiscard]] T& value() & { return std::get<0>(state_); }
    [[nodiscard]] const T& value() const& { return std::get<0>(state_); }
    [[nodiscard]] T&& value() && { return std::get<0>(std::move(state_)); }
    [[nodiscard]] E& error() & { return std::get<1>(state_); }
    [[nodiscard]] const E& error() const& { return std::get<1>(state_); }

    [[nodiscard]] T& operator*() & { return value(); }
    [[nodiscard]] const T& operator*() const& { return value(); }
    [[nodiscard]] T* operator->() { return &value(); }
    [[nodiscard]] const T* operator->() const { return &value(); }

private:
    std::variant<T, E> state_;
};

}  // namespace kephas

template <>
struct std::is_error_code_enum<kephas::errc> : std::true_type {};
template <>
struct std::is_error_condition_enum<kephas::condition> : std::true_type {};
