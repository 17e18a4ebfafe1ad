#include <kephas/server/deflate_link.hpp>

#include <kephas/proto/http/extensions.hpp>
#include <kephas/proto/http/status.hpp>

namespace kephas {

result<std::unique_ptr<deflate_link>, http::response> deflate_link::negotiate(const http::request& request,
                                                                              const deflate_options& options,
                                                                              websocket::codec_lender& codecs) {
    std::unique_ptr<deflate_link> link;
    const auto offered = http::parse_extensions(request.headers);
    if (!offered) return http::text_response(http::status_code::bad_request, "invalid Sec-WebSocket-Extensions\n");
    if (auto agreed = websocket::accept_deflate(*offered, options)) {
        link = std::make_unique<deflate_link>(*std::move(agreed), options, codecs);
    }
    return link;
}

}  // namespace kephas
