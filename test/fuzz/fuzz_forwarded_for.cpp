// X-Forwarded-For and the list of trusted proxies: what is read as an address reads the same when it is written again.
#include <kephas/proto/http/peer_list.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

using namespace kephas;

namespace {

void require(bool holds) {
    if (!holds) std::abort();
}

void check_address(std::string_view text) {
    const auto address = http::ip_address::parse(text);
    if (!address) return;
    const std::string written = address->to_string();
    require(http::ip_address::parse(written) == address);
    const auto alone = http::peer_list::parse(std::vector<std::string>{std::string{text}});
    require(alone.has_value() && alone->contains(address));
    require(http::forwarded_for(written, {}) == address);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

/// The first line is an element of the list, what follows is the header.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text{reinterpret_cast<const char*>(data), size};
    const std::size_t line = std::min(text.find('\n'), text.size());
    const std::string element{text.substr(0, line)};
    const std::string_view header = text.substr(std::min(line + 1, text.size()));
    check_address(element);
    check_address(header);

    http::peer_list trusted;
    if (auto list = http::peer_list::parse(std::vector<std::string>{element})) trusted = std::move(*list);
    const auto address = http::forwarded_for(header, trusted);
    if (address) {
        // more trust finds the same address, or one further to the left; without any it is the last one
        require(http::forwarded_for(std::string{header} + ", " + address->to_string(), {}) == address);
        (void)address->peer_key();
    }
    return 0;
}
