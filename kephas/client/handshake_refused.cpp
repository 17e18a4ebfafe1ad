#include <kephas/client/handshake_refused.hpp>

namespace kephas {

namespace {

class http_status_category_type final : public std::error_category {
public:
    [[nodiscard]] const char* name() const noexcept override { return "kephas.http"; }
    [[nodiscard]] std::string message(int value) const override { return "HTTP status " + std::to_string(value); }
    [[nodiscard]] std::error_condition default_error_condition(int value) const noexcept override {
        switch (value) {
            case 401:
            case 403: return condition::unauthorized;
            case 408:
            case 504: return condition::timed_out;
            case 429:
            case 503: return condition::overloaded;
            default: return {value, *this};
        }
    }
};

}  // namespace

const std::error_category& http_status_category() noexcept {
    static const http_status_category_type category;
    return category;
}

}  // namespace kephas
