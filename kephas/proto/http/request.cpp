#include <kephas/proto/http/percent.hpp>
#include <kephas/proto/http/request.hpp>

#include <algorithm>
#include <cstddef>

namespace kephas::http {

std::optional<std::string_view> request::header(std::string_view name) const noexcept {
    return find_header(headers, name);
}

std::optional<std::string> request::query(std::string_view name) const {
    std::string_view rest = query_string;
    while (!rest.empty()) {
        const std::size_t end = std::min(rest.find('&'), rest.size());
        const std::string_view pair = rest.substr(0, end);
        rest.remove_prefix(std::min(end + 1, rest.size()));
        const std::size_t equals = std::min(pair.find('='), pair.size());
        if (pair.empty() || form_decode(pair.substr(0, equals)) != name) continue;
        return form_decode(pair.substr(std::min(equals + 1, pair.size())));
    }
    return std::nullopt;
}

}  // namespace kephas::http
