#pragma once

#include <kephas/proto/http/request.hpp>
#include <kephas/proto/http/response.hpp>
#include <kephas/proto/websocket/deflate_codec.hpp>
#include <kephas/proto/websocket/deflate_negotiation.hpp>
#include <kephas/proto/websocket/deflater.hpp>
#include <kephas/proto/websocket/inflater.hpp>

#include <memory>
#include <mutex>
#include <string>
#include <utility>

namespace kephas {

/// The compression of one connection that has negotiated it.
class deflate_link {
public:
    /// `codecs` must outlive the link and the inflaters that it makes.
    deflate_link(websocket::deflate_agreement agreed, const deflate_options& options, websocket::codec_lender& codecs)
        : parameters_{agreed.parameters},
          response_{std::move(agreed.response)},
          codecs_{codecs},
          deflater_{codecs, options, !parameters_.server_no_context_takeover, parameters_.server_max_window_bits} {}

    /// Answers the extensions that `request` offers: null if there is nothing to agree on.
    /// A failure is the response that refuses a malformed list (RFC 6455 9.1).
    [[nodiscard]] static result<std::unique_ptr<deflate_link>, http::response> negotiate(
        const http::request& request, const deflate_options& options, websocket::codec_lender& codecs);

    /// The value of Sec-WebSocket-Extensions; once.
    [[nodiscard]] std::string take_response() noexcept { return std::exchange(response_, {}); }
    [[nodiscard]] std::unique_ptr<websocket::inflater> make_inflater() const {
        return std::make_unique<websocket::inflater>(codecs_, !parameters_.client_no_context_takeover,
                                                     parameters_.client_max_window_bits);
    }
    [[nodiscard]] websocket::deflater& deflater() noexcept { return deflater_; }
    [[nodiscard]] bool compresses() const noexcept { return parameters_.server_max_window_bits > 8; }  // zlib cannot
    /// The window in bits of messages that may be compressed once for all clients that have the same; 0: there are none.
    [[nodiscard]] int shared_window() const noexcept {
        return parameters_.server_no_context_takeover && compresses() ? parameters_.server_max_window_bits : 0;
    }

private:
    websocket::deflate_parameters parameters_;
    std::string response_;
    websocket::codec_lender& codecs_;
    websocket::deflater deflater_;
};

/// A pool of zlib's contexts for several threads. They are locked for the moment of lending, not for the work.
class shared_codecs final : public websocket::codec_lender {
public:
    shared_codecs(int level, int memory_level) : pool_{level, memory_level} {}

    [[nodiscard]] std::unique_ptr<websocket::inflate_context> borrow_inflate() override {
        const std::lock_guard lock{mutex_};
        return pool_.borrow_inflate();
    }
    void give_back(std::unique_ptr<websocket::inflate_context> context) noexcept override {
        const std::lock_guard lock{mutex_};
        pool_.give_back(std::move(context));
    }
    [[nodiscard]] std::unique_ptr<websocket::deflate_context> borrow_deflate(int window_bits) override {
        const std::lock_guard lock{mutex_};
        return pool_.borrow_deflate(window_bits);
    }
    void give_back(std::unique_ptr<websocket::deflate_context> context) noexcept override {
        const std::lock_guard lock{mutex_};
        pool_.give_back(std::move(context));
    }

private:
    std::mutex mutex_;
    websocket::codec_pool pool_;
};

}  // namespace kephas
