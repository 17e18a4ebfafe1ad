#include <kephas/base/error.hpp>

#include <kephas/net/error_codes.hpp>

#include <kephas/client/event_stream.hpp>

#include <asio/error.hpp>

#include <utility>

namespace kephas {

event_stream::~event_stream() { stream_->close(); }

std::size_t event_stream::read_some(read_buffer& buffer, std::error_code& ec) {
    const std::size_t size = stream_->read_some(buffer, ec);
    if (ec == asio::error::would_block) readable_ = stream_->pending();
    return size;
}

std::size_t event_stream::write_some(std::span<const bytes_view> buffers, std::error_code& ec) {
    const std::size_t size = stream_->write_some(buffers, ec);
    if (ec != asio::error::would_block) return size;
    writable_ = false;
    stream_->wait_writable([weak = weak_from_this()](std::error_code /*writing tells*/) {
        const auto self = weak.lock();
        if (!self) return;
        self->writable_ = true;
        self->signal();
    });
    return size;
}

void event_stream::readable() noexcept {
    reading_awaited_ = false;
    readable_ = true;
    signal();
}

asio::awaitable<void> event_stream::wait(bool for_reading, time_point deadline) {
    if (for_reading && !readable_ && !std::exchange(reading_awaited_, true)) stream_->wait_readable(*this);
    return signal_.wait(deadline);
}

asio::awaitable<slice> event_stream::finish_handshake() {
    slice early;
    while (stream_->handshaking()) {
        slice buffer = slice::allocate(16 * 1024);
        read_buffer into{buffer.bytes(), &slabs_of_threads(), {}};
        std::error_code ec;
        const std::size_t size = read_some(into, ec);
        if (size > 0) {
            early = std::move(buffer).sub(0, size);
        } else if (ec == asio::error::would_block) {
            co_await wait(true, time_point::max());
        } else if (!ec || ec == asio::error::eof || ec == errc::truncated) {
            throw error{errc::closed, "the server has ended the connection during the TLS handshake"};
        } else {
            throw error{unified(ec)};
        }
    }
    co_return early;
}

}  // namespace kephas
