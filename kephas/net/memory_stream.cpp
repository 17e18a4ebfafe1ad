#include <kephas/net/memory_stream.hpp>
#include <kephas/net/parked.hpp>

#include <asio/bind_executor.hpp>
#include <asio/error.hpp>

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <utility>

namespace kephas {

/// Changes something under the lock, and tells who waits for that after it.
template <class Change>
void memory_pipe::change(Change what) {
    std::function<void()> reader;
    std::function<void()> writer;
    {
        const std::lock_guard lock{mutex_};
        what();
        if (on_readable_ && readable_locked()) reader = std::exchange(on_readable_, nullptr);
        if (on_writable_ && writable_locked()) writer = std::exchange(on_writable_, nullptr);
    }
    if (reader) reader();
    if (writer) writer();
}

void memory_pipe::set_capacity(std::size_t size) {
    change([&] { capacity_ = size; });
}

void memory_pipe::set_step(std::size_t size) {
    change([&] { step_ = size; });
}

void memory_pipe::hold() {
    change([&] { deliverable_ = arrived_locked(); });
}

void memory_pipe::deliver(std::size_t size) {
    change([&] { deliverable_ = size > unlimited - deliverable_ ? unlimited : deliverable_ + size; });
}

void memory_pipe::release() {
    change([&] { deliverable_ = unlimited; });
}

void memory_pipe::reset() {
    change([&] {
        ended_ = reset_ = true;
        bytes_.clear();
        taken_ = 0;
    });
}

void memory_pipe::end() {
    change([&] { ended_ = true; });
}

std::size_t memory_pipe::write(bytes_view bytes, std::error_code& ec) {
    std::size_t size = 0;
    ec.clear();
    change([&] {
        if (reset_ || reader_gone_) {
            ec = asio::error::connection_reset;
        } else if (ended_) {
            ec = asio::error::broken_pipe;
        } else {
            const std::size_t unread = bytes_.size() - taken_;
            size = std::min({bytes.size(), capacity_ - std::min(capacity_, unread), step_});
            bytes_.append(as_text(bytes.first(size)));
            if (size == 0 && !bytes.empty()) ec = asio::error::would_block;
        }
    });
    return size;
}

void memory_pipe::write(std::string_view text) {
    bool fits = true;
    change([&] {
        if (reader_gone_ || ended_) return;
        fits = text.size() <= capacity_ - std::min(capacity_, bytes_.size() - taken_);
        if (fits) bytes_.append(text);
    });
    if (!fits) throw std::length_error{"memory_pipe: more than it has room for"};
}

std::size_t memory_pipe::read_locked(mutable_bytes to, std::error_code& ec) {
    ec.clear();
    const std::size_t size = std::min({arrived_locked(), to.size(), step_});
    if (size > 0) {
        std::memcpy(to.data(), bytes_.data() + taken_, size);
        taken_ += size;
        if (deliverable_ != unlimited) deliverable_ -= size;
        if (taken_ == bytes_.size()) {
            bytes_.clear();
            taken_ = 0;
        } else if (taken_ > bytes_.size() / 2) {
            bytes_.erase(0, std::exchange(taken_, 0));
        }
    } else if (!readable_locked()) {
        ec = asio::error::would_block;
    } else if (reset_) {
        ec = asio::error::connection_reset;
    } else if (arrived_locked() == 0) {
        ec = asio::error::eof;
    }
    return size;
}

std::size_t memory_pipe::read(mutable_bytes to, std::error_code& ec) {
    std::size_t size = 0;
    change([&] { size = read_locked(to, ec); });
    return size;
}

std::string memory_pipe::take() {
    std::string all;
    change([&] {
        all = bytes_.substr(taken_, arrived_locked());
        taken_ += all.size();
        if (deliverable_ != unlimited) deliverable_ -= all.size();
        bytes_.erase(0, std::exchange(taken_, 0));
    });
    return all;
}

bool memory_pipe::wait_readable(std::function<void()> notify) {
    const std::lock_guard lock{mutex_};
    if (readable_locked()) return false;
    on_readable_ = std::move(notify);
    return true;
}

bool memory_pipe::wait_writable(std::function<void()> notify) {
    const std::lock_guard lock{mutex_};
    if (writable_locked()) return false;
    on_writable_ = std::move(notify);
    return true;
}

bool memory_pipe::stop_reading() {
    bool left = false;
    change([&] {
        left = bytes_.size() > taken_;
        reader_gone_ = true;
        bytes_.clear();
        taken_ = 0;
        on_readable_ = nullptr;
    });
    return left;
}

std::size_t memory_pipe::unread() const {
    const std::lock_guard lock{mutex_};
    return bytes_.size() - taken_;
}

std::size_t memory_pipe::arrived() const {
    const std::lock_guard lock{mutex_};
    return arrived_locked();
}

bool memory_pipe::at_end() const {
    const std::lock_guard lock{mutex_};
    return arrived_locked() == 0 && readable_locked();
}

bool memory_pipe::was_ended() const {
    const std::lock_guard lock{mutex_};
    return ended_;
}

bool memory_pipe::was_reset() const {
    const std::lock_guard lock{mutex_};
    return reset_;
}

std::size_t memory_pipe::arrived_locked() const noexcept { return std::min(bytes_.size() - taken_, deliverable_); }

bool memory_pipe::readable_locked() const noexcept {
    // The end arrives behind the last byte, unless the wire was cut.
    return arrived_locked() > 0 || reset_ || (ended_ && deliverable_ == unlimited);
}

bool memory_pipe::writable_locked() const noexcept {
    return ended_ || reader_gone_ || bytes_.size() - taken_ < capacity_;
}

namespace {

class memory_stream final : public stream {
public:
    memory_stream(const asio::any_io_executor& executor, std::shared_ptr<memory_pipe> in,
                  std::shared_ptr<memory_pipe> out)
        : executor_{executor}, in_{std::move(in)}, out_{std::move(out)} {}
    ~memory_stream() override {
        *reader_ = nullptr;
        close(false);
    }

    std::size_t read_some(read_buffer& buffer, std::error_code& ec) override {
        if (closed_) {
            ec = asio::error::operation_aborted;
            return 0;
        }
        mutable_bytes to = buffer.direct;
        if (to.empty() && in_->arrived() > 0) {
            buffer.slab = buffer.lender->borrow_slab();
            to = buffer.slab.bytes();
        }
        const std::size_t size = in_->read(to, ec);
        if (size == 0 && !ec) ec = asio::error::would_block;  // it has arrived since we looked
        if (size == 0 && !buffer.slab.empty()) buffer.lender->give_back_slab(std::exchange(buffer.slab, slice{}));
        return size;
    }

    void wait_readable(read_waiter& who) override {
        auto bound = asio::bind_executor(executor_, [reader = reader_](std::error_code /*reading tells*/) {
            if (read_waiter* waiting = std::exchange(*reader, nullptr)) waiting->readable();
        });
        const auto parked = std::make_shared<detail::parked_handler<decltype(bound)>>(std::move(bound));
        reading_ = parked;
        if (closed_ || !in_->wait_readable([parked] { parked->resume(); })) parked->resume();
        *reader_ = &who;  // only once nothing can throw
    }

    std::size_t write_some(std::span<const bytes_view> buffers, std::error_code& ec) override {
        ec.clear();
        std::size_t written = 0;
        for (const bytes_view& buffer : buffers) {
            if (closed_) ec = asio::error::bad_descriptor;
            const std::size_t size = closed_ ? 0 : out_->write(buffer, ec);
            written += size;
            if (size < buffer.size()) break;
        }
        if (written > 0) ec.clear();  // what stopped it will stop the next write
        return written;
    }

    void wait_writable(std::function<void(std::error_code)> ready) override {
        auto bound = asio::bind_executor(executor_, std::move(ready));
        const auto who = std::make_shared<detail::parked_handler<decltype(bound)>>(std::move(bound));
        if (closed_) return who->resume(asio::error::operation_aborted);
        writing_ = who;
        if (!out_->wait_writable([who] { who->resume(); })) who->resume();
    }

    void shutdown_send() noexcept override { out_->end(); }
    void close() noexcept override { close(false); }
    void abort() noexcept override { close(true); }
    bool peer_gone() const noexcept override { return closed_ || in_->was_ended(); }
    std::size_t unacknowledged() const noexcept override { return closed_ ? 0 : out_->unread() - out_->arrived(); }
    std::string remote_address() const override { return "memory"; }

private:
    void close(bool reset) noexcept {
        if (std::exchange(closed_, true)) return;
        if (auto who = std::exchange(reading_, nullptr)) who->resume();
        if (auto who = std::exchange(writing_, nullptr)) who->resume(asio::error::operation_aborted);
        // A reset is TCP's answer to input that nobody will read.
        if (in_->stop_reading() || reset) {
            in_->reset();
            out_->reset();
        } else {
            out_->end();
        }
    }

    asio::any_io_executor executor_;
    std::shared_ptr<memory_pipe> in_;
    std::shared_ptr<memory_pipe> out_;
    const std::shared_ptr<read_waiter*> reader_ = std::make_shared<read_waiter*>();  // a wait may end after the stream
    parked_ptr reading_;
    parked_ptr writing_;
    bool closed_ = false;
};

}  // namespace

std::unique_ptr<stream> memory_link::server_end(const asio::any_io_executor& executor) const {
    return std::make_unique<memory_stream>(executor, to_server_, to_client_);
}

std::unique_ptr<stream> memory_link::client_end(const asio::any_io_executor& executor) const {
    return std::make_unique<memory_stream>(executor, to_client_, to_server_);
}

}  // namespace kephas
