#include <kephas/proto/http/head_collector.hpp>

#include <algorithm>

namespace kephas::http {

namespace {

constexpr refusal malformed(std::string_view reason) noexcept { return {status_code::bad_request, reason}; }

constexpr bool is_control(char c) noexcept { return (static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7F; }

}  // namespace

std::size_t head_collector::handle(bytes_view in) {
    if (complete_ || failure_) return 0;
    const std::size_t before = text_.size();
    text_.append(as_text(in.first(std::min(in.size(), limits_.max_head_size - before))));
    const auto is_plain = [](char c) { return static_cast<unsigned char>(c) >= 0x20 && c != 0x7F; };
    while (scanned_ < text_.size()) {
        if (is_plain(text_[scanned_]) && !after_cr_) [[likely]] {
            ++scanned_;
            continue;
        }
        failure_ = take(text_[scanned_]);
        if (failure_) return 0;
        ++scanned_;
        if (complete_) {
            text_.resize(scanned_);
            return scanned_ - before;
        }
    }
    if (text_.size() == limits_.max_head_size) {
        failure_ = start_line_size_ == 0 ? refusal{status_code::uri_too_long, "request line too long"}
                                         : refusal{status_code::header_fields_too_large, "request head too large"};
        return 0;
    }
    return in.size();
}

std::optional<refusal> head_collector::take(char c) {
    if (c == '\n') {
        if (!after_cr_) return malformed("bare line feed");
        after_cr_ = false;
        const std::string_view line{text_.data() + line_start_, scanned_ - 1 - line_start_};
        line_start_ = scanned_ + 1;
        return end_line(line);
    }
    if (after_cr_) return malformed("bare carriage return");
    after_cr_ = c == '\r';
    if (is_control(c) && c != '\r') return malformed("control character");
    return std::nullopt;
}

std::optional<refusal> head_collector::end_line(std::string_view line) {
    if (start_line_size_ == 0) {
        if (line.empty()) return malformed("empty start line");
        start_line_size_ = line.size();
        return std::nullopt;
    }
    if (!line.empty()) return add_header(line);
    complete_ = true;
    return std::nullopt;
}

std::optional<refusal> head_collector::add_header(std::string_view line) {
    if (line.front() == ' ' || line.front() == '\t') return malformed("folded header line");  // RFC 9112 5.2
    const std::size_t colon = line.find(':');
    if (colon == std::string_view::npos) return malformed("header line without a colon");
    const std::string_view name = line.substr(0, colon);
    if (!is_token(name)) return malformed("invalid header name");  // also a blank before the colon, RFC 9112 5.1
    if (headers_.size() == limits_.max_headers) {
        return refusal{status_code::header_fields_too_large, "too many headers"};
    }
    headers_.push_back({std::string{name}, std::string{trim(line.substr(colon + 1))}});
    return std::nullopt;
}

}  // namespace kephas::http
