#pragma once

#include <kephas/proto/http/request.hpp>

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace kephas {

/// Which web pages may open a WebSocket connection (RFC 6455 10.2). A browser says in `Origin` whose page asks; a
/// request without it does not come from a page and is allowed. The opaque origin "null" (sandboxed frames, local
/// files) is refused unless it is listed. Made by the functions below; the default is same_origin().
class origin_policy {
public:
    using predicate = std::function<bool(const http::request&)>;

    origin_policy() = default;

    [[nodiscard]] bool allows(const http::request& request) const;
    /// Whether every page of the web is let in: worth a warning when the server starts.
    [[nodiscard]] bool is_any() const noexcept { return kind_ == kind::any; }

    friend origin_policy same_origin();
    friend origin_policy same_host();
    friend origin_policy allow_origins(const std::vector<std::string>& origins);
    friend origin_policy any_origin();
    friend origin_policy allow_origin_if(predicate allowed);

private:
    enum class kind { same_origin, same_host, listed, any, custom };

    struct entry {
        std::string scheme;
        std::string host;  ///< For subdomains the part that they share, with its dot: ".example.com".
        std::uint16_t port = 0;
        bool subdomains = false;
    };

    explicit origin_policy(kind k) noexcept : kind_{k} {}
    [[nodiscard]] bool is_listed(std::string_view origin) const;
    void add(std::string_view origin);

    kind kind_ = kind::same_origin;
    bool null_listed_ = false;
    std::vector<entry> entries_;
    predicate predicate_;
};

/// Pages of the host and port that the request itself names in `Host`; a port that is not written is the one of the
/// page's scheme. Over TLS the page must have come over TLS too; without, a proxy may have ended it, so that the scheme
/// is not compared.
[[nodiscard]] origin_policy same_origin();

/// The same, whatever the ports: for a page that is served on another port of this host.
[[nodiscard]] origin_policy same_host();

/// Pages of these origins: "https://example.com", "http://localhost:3000", "https://*.example.com" (every subdomain,
/// at any depth, but not example.com itself), "null". Scheme, host and port must be equal.
/// Throws `std::invalid_argument` for text that is no origin, such as a host without a scheme: it could never match.
[[nodiscard]] origin_policy allow_origins(const std::vector<std::string>& origins);

/// Every page. For development, or where no request acts on behalf of a user.
[[nodiscard]] origin_policy any_origin();

/// What `allowed` says, which is asked about requests without `Origin` too. It is called by many threads at once.
[[nodiscard]] origin_policy allow_origin_if(origin_policy::predicate allowed);

}  // namespace kephas
