#pragma once

#include <kephas/base/bytes.hpp>
#include <kephas/base/slice.hpp>

#include <kephas/proto/command/stream_decoder.hpp>
#include <kephas/proto/command/wire_format.hpp>
#include <kephas/proto/websocket/decoder.hpp>
#include <kephas/proto/websocket/inflater.hpp>

#include <cstddef>
#include <memory>
#include <optional>
#include <utility>
#include <variant>

namespace kephas {

/// What a session reads with, whatever the wire: messages of a stream come out as those of a WebSocket connection do, as
/// binary ones, its keep-alives as pongs, and a goodbye as the close frame that it stands for.
/// Everything else is as in `websocket::decoder` and `stream_decoder`.
class session_decoder {
    // Neither is ever replaced, so one of the two is always there.
    template <class Question>
    decltype(auto) ask(Question question) {
        if (auto* frames = std::get_if<websocket::decoder>(&decoder_)) [[likely]] return question(*frames);
        return question(*std::get_if<stream_decoder>(&decoder_));
    }
    template <class Question>
    decltype(auto) ask(Question question) const {
        if (auto* frames = std::get_if<websocket::decoder>(&decoder_)) [[likely]] return question(*frames);
        return question(*std::get_if<stream_decoder>(&decoder_));
    }

public:
    session_decoder(websocket::role self, const websocket::decoder_options& options) noexcept
        : decoder_{std::in_place_type<websocket::decoder>, self, options} {}
    /// Of a stream.
    explicit session_decoder(std::size_t max_message) noexcept
        : decoder_{std::in_place_type<stream_decoder>, max_message} {}

    [[nodiscard]] wire_format format() const noexcept {
        return std::holds_alternative<stream_decoder>(decoder_) ? wire_format::stream : wire_format::websocket;
    }
    /// Not for a stream.
    void use_deflate(std::unique_ptr<websocket::inflater> inflater) noexcept {
        if (auto* frames = std::get_if<websocket::decoder>(&decoder_)) frames->use_deflate(std::move(inflater));
    }

    [[nodiscard]] mutable_bytes want() const noexcept {
        return ask([](const auto& decoder) { return decoder.want(); });
    }
    void feed(slice input) {
        ask([&input](auto& decoder) { decoder.feed(std::move(input)); });
    }
    void commit(std::size_t size) {
        ask([size](auto& decoder) { decoder.commit(size); });
    }

    [[nodiscard]] std::optional<websocket::decoded> next() {
        if (auto* frames = std::get_if<websocket::decoder>(&decoder_)) [[likely]] return frames->next();
        return next_of_stream();
    }
    /// As `websocket::decoder::next_if_whole`; for a stream, too, none says nothing.
    [[nodiscard]] std::optional<websocket::decoded> next_if_whole() noexcept {
        auto* frames = std::get_if<websocket::decoder>(&decoder_);
        return frames != nullptr ? frames->next_if_whole() : std::nullopt;
    }

    [[nodiscard]] bool failed() const noexcept {
        return ask([](const auto& decoder) { return decoder.failed(); });
    }
    [[nodiscard]] violation failure() const {
        return ask([](const auto& decoder) { return decoder.failure(); });
    }
    [[nodiscard]] const slice& input() const noexcept {
        return ask([](const auto& decoder) -> const slice& { return decoder.input(); });
    }
    [[nodiscard]] bool pending() const noexcept {
        return ask([](const auto& decoder) { return decoder.pending(); });
    }
    [[nodiscard]] bool unfinished() const noexcept {
        return ask([](const auto& decoder) { return decoder.unfinished(); });
    }
    [[nodiscard]] std::size_t arrived() const noexcept {
        return ask([](const auto& decoder) { return decoder.arrived(); });
    }
    void stop() noexcept {
        ask([](auto& decoder) { decoder.stop(); });
    }

private:
    [[nodiscard]] std::optional<websocket::decoded> next_of_stream();

    std::variant<websocket::decoder, stream_decoder> decoder_;
};

}  // namespace kephas
