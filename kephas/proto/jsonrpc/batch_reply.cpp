#include <kephas/proto/jsonrpc/batch_reply.hpp>
#include <kephas/proto/jsonrpc/encode.hpp>

#include <utility>
#include <variant>

namespace kephas::jsonrpc {

batch_reply::batch_reply(const document& asked) : slots_(asked.messages.size()), batch_{asked.batch} {
    for (std::size_t i = 0; i < slots_.size(); ++i) {
        if (const auto* const call = std::get_if<request>(&asked.messages[i])) {
            slots_[i].waits_for = call->id;
            if (call->id) ++missing_;
        } else if (const auto* const invalid = std::get_if<invalid_request_message>(&asked.messages[i])) {
            slots_[i].text = encode_error(invalid->id, invalid->error);
        }
    }
}

void batch_reply::set_result(std::size_t index, const json& result) {
    if (const auto& id = slots_.at(index).waits_for) put(index, encode_result(*id, result));
}

void batch_reply::set_error(std::size_t index, const error_object& error) {
    if (const auto& id = slots_.at(index).waits_for) put(index, encode_error(*id, error));
}

void batch_reply::put(std::size_t index, std::string text) {
    slots_[index].text = std::move(text);
    slots_[index].waits_for.reset();
    --missing_;
}

std::string batch_reply::take() {
    if (!batch_) return std::move(slots_.front().text);
    std::string text;
    for (const slot& answered : slots_) {
        if (answered.text.empty()) continue;
        text += text.empty() ? '[' : ',';
        text += answered.text;
    }
    if (!text.empty()) text += ']';
    return text;
}

}  // namespace kephas::jsonrpc
