#include <kephas/net/faulty_stream.hpp>

#include <asio/error.hpp>
#include <asio/post.hpp>

#include <algorithm>
#include <array>
#include <stdexcept>
#include <utility>

namespace kephas {

namespace {

class faulty_stream final : public stream {
public:
    faulty_stream(std::unique_ptr<stream> inner, const asio::any_io_executor& executor, fault_plan plan)
        : inner_{std::move(inner)}, executor_{executor}, plan_{std::move(plan)} {}

    std::size_t read_some(read_buffer& buffer, std::error_code& ec) override {
        const stream_fault fault = next(stream_operation::read);
        if (lost_) {
            ec = asio::error::connection_reset;
        } else if (fault == stream_fault::end) {
            ec = asio::error::eof;
        } else if (fault == stream_fault::blocked) {
            ec = asio::error::would_block;
        } else if (fault == stream_fault::shortened) {
            return read_one_byte(buffer, ec);
        } else {
            return inner_->read_some(buffer, ec);
        }
        return 0;
    }
    void wait_readable(read_waiter& who) override { inner_->wait_readable(who); }
    bool wait_turn(read_waiter& who) override { return inner_->wait_turn(who); }
    bool pending() const noexcept override { return inner_->pending(); }

    std::size_t write_some(std::span<const bytes_view> buffers, std::error_code& ec) override {
        const stream_fault fault = next(stream_operation::write);
        if (lost_) {
            ec = asio::error::connection_reset;
            return 0;
        }
        if (fault == stream_fault::blocked) {
            ec = asio::error::would_block;
            return 0;
        }
        if (fault == stream_fault::shortened && !buffers.empty()) {
            const std::array<bytes_view, 1> first{buffers.front().first(std::min<std::size_t>(1, buffers.front().size()))};
            return inner_->write_some(first, ec);
        }
        return inner_->write_some(buffers, ec);
    }

    void wait_writable(std::function<void(std::error_code)> ready) override {
        const stream_fault fault = next(stream_operation::wait_writable);
        if (lost_ || fault == stream_fault::shortened) {
            const std::error_code ec = lost_ ? std::error_code{asio::error::connection_reset} : std::error_code{};
            asio::post(executor_, [ready = std::move(ready), ec] { ready(ec); });
        } else {
            inner_->wait_writable(std::move(ready));
        }
    }

    void shutdown_send() noexcept override {
        const stream_fault fault = next(stream_operation::shutdown);
        if (!lost_ && fault != stream_fault::blocked) inner_->shutdown_send();
    }
    void close() noexcept override { inner_->close(); }
    void abort() noexcept override { inner_->abort(); }
    bool peer_gone() const noexcept override { return lost_ || ended_ || inner_->peer_gone(); }
    std::size_t unacknowledged() const noexcept override { return inner_->unacknowledged(); }
    std::string remote_address() const override { return inner_->remote_address(); }
    int native_handle() const noexcept override { return inner_->native_handle(); }
    std::optional<tls_info> tls() const override { return inner_->tls(); }

private:
    stream_fault next(stream_operation operation) {
        const stream_fault fault = plan_(operation);
        const bool read = operation == stream_operation::read;
        const bool may_throw = operation != stream_operation::shutdown;
        if (fault == stream_fault::throws && may_throw) throw std::runtime_error{"a stream that throws"};
        if (fault == stream_fault::reset || fault == stream_fault::throws || (fault == stream_fault::end && !read)) {
            lost_ = true;
            inner_->abort();
        } else if (fault == stream_fault::end) {
            ended_ = true;
        }
        return fault;
    }

    std::size_t read_one_byte(read_buffer& buffer, std::error_code& ec) {
        if (!buffer.direct.empty()) {
            read_buffer one{buffer.direct.first(1), buffer.lender, {}};
            return inner_->read_some(one, ec);
        }
        slice slab = buffer.lender->borrow_slab();
        read_buffer one{slab.bytes().first(1), buffer.lender, {}};
        const std::size_t size = inner_->read_some(one, ec);
        if (size > 0) buffer.slab = std::move(slab);
        else buffer.lender->give_back_slab(std::move(slab));
        return size;
    }

    std::unique_ptr<stream> inner_;
    asio::any_io_executor executor_;
    fault_plan plan_;
    bool lost_ = false;
    bool ended_ = false;
};

}  // namespace

std::unique_ptr<stream> make_faulty_stream(std::unique_ptr<stream> inner, const asio::any_io_executor& executor,
                                           fault_plan plan) {
    return std::make_unique<faulty_stream>(std::move(inner), executor, std::move(plan));
}

}  // namespace kephas
