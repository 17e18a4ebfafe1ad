#include <kephas/proto/json/parse.hpp>
#include <kephas/proto/json/write.hpp>
#include <kephas/proto/jsonrpc/batch_reply.hpp>
#include <kephas/proto/jsonrpc/parse.hpp>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <variant>

namespace {

void require(bool condition) {
    if (!condition) std::abort();
}

// What is read and written again is the same value, by the same text.
void check_value(std::string_view text) {
    const auto value = kephas::parse_json(text, {}, "id");
    if (!value) return;
    const std::string written = kephas::write_json(*value);
    const auto again = kephas::parse_json(written, {}, "id");
    require(again.has_value() && *again == *value && kephas::write_json(*again) == written);
}

// Whatever came, the reply can be completed and is JSON; a batch is answered by one, all else by an object.
void check_reply(const kephas::jsonrpc::document& asked) {
    require(!asked.messages.empty() && asked.messages.size() <= 100);
    kephas::jsonrpc::batch_reply reply{asked};
    for (std::size_t i = 0; i < asked.messages.size(); ++i) {
        if (const auto* const call = std::get_if<kephas::jsonrpc::request>(&asked.messages[i])) {
            reply.set_result(i, call->params);
        }
    }
    require(reply.complete());
    const std::string answer = reply.take();
    if (answer.empty()) return;
    const auto read = kephas::parse_json(answer);
    require(read.has_value() && read->is_array() == asked.batch);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text{reinterpret_cast<const char*>(data), size};
    check_value(text);
    check_reply(kephas::jsonrpc::parse(text));
    const auto read = kephas::jsonrpc::classify(text);
    if (const auto* const asked = std::get_if<kephas::jsonrpc::document>(&read)) check_reply(*asked);
    return 0;
}
