// A sequence of operations on an outbound_queue, checked step by step against a model that keeps plain strings.

#include <kephas/proto/session/outbound_queue.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace {

using namespace kephas;

void check(bool holds, const char* what) {
    if (holds) return;
    std::fprintf(stderr, "outbound_queue: %s\n", what);
    std::abort();
}

class reader {
public:
    reader(const std::uint8_t* data, std::size_t size) noexcept : next_{data}, end_{data + size} {}
    [[nodiscard]] bool empty() const noexcept { return next_ == end_; }
    [[nodiscard]] std::size_t below(std::size_t limit) noexcept { return empty() ? 0 : *next_++ % limit; }
    template <class T, std::size_t N>
    [[nodiscard]] T pick(const std::array<T, N>& from) noexcept {
        return from[below(N)];
    }

private:
    const std::uint8_t* next_;
    const std::uint8_t* end_;
};

struct model_frame {
    std::string bytes;
    std::uint64_t key = 0;
    bool replaceable = false;
    std::size_t written = 0;
    bool in_flight = false;
    bool as_is = false;
    bool compressed = false;  // or passed over: it may leave, and is not dropped
    bool taken = false;

    [[nodiscard]] bool begun() const noexcept { return written > 0 || in_flight; }
    [[nodiscard]] std::string_view rest() const noexcept { return std::string_view{bytes}.substr(written); }
};

struct model {
    explicit model(const outbound_limits& l) : limits{l} {}

    const outbound_limits& limits;
    std::vector<model_frame> data, control, close;
    bool closed = false, failed = false, close_written = false;
    bool compressing = false;
    std::size_t compress_from = 0;
    outbound_counters counters;
    deflated_counters deflated;

    static std::size_t sum(const std::vector<model_frame>& frames) {
        std::size_t bytes = 0;
        for (const auto& frame : frames) bytes += frame.rest().size();
        return bytes;
    }
    [[nodiscard]] std::size_t bytes() const { return sum(data) + sum(control) + sum(close); }
    [[nodiscard]] bool fits(const std::vector<model_frame>& among, std::size_t size) const {
        return among.empty() || (among.size() < limits.max_messages && sum(among) + size <= limits.max_bytes);
    }
    [[nodiscard]] std::size_t first_droppable() const {
        std::size_t first = 0;
        while (first < data.size() && (data[first].begun() || data[first].compressed || data[first].taken)) ++first;
        return first;
    }

    send_status push(model_frame frame, overflow_policy policy) {
        if (closed) return send_status::closed;
        const std::size_t size = frame.bytes.size();
        const auto first = static_cast<std::ptrdiff_t>(first_droppable());
        const bool possible = fits({data.begin(), data.begin() + first}, size);
        frame.replaceable = policy == overflow_policy::latest;
        if (frame.replaceable) {
            const auto old = std::find_if(data.begin() + first, data.end(),
                                          [&](const model_frame& f) { return f.replaceable && f.key == frame.key; });
            if (old != data.end()) {
                auto others = data;
                others.erase(others.begin() + (old - data.begin()));
                const bool in_place = fits(others, size);
                if (in_place || possible) {
                    ++counters.replaced_messages;
                    counters.replaced_bytes += old->bytes.size();
                }
                if (in_place) {
                    *old = std::move(frame);
                    ++counters.queued_messages;
                    counters.queued_bytes += size;
                    return send_status::queued;
                }
                if (possible) data = std::move(others);
            }
        }
        if (!fits(data, size)) {
            if (policy == overflow_policy::wait || policy == overflow_policy::close) return send_status::full;
            if (policy == overflow_policy::drop_newest || !possible) {
                ++counters.refused_messages;
                counters.refused_bytes += size;
                return send_status::full;
            }
            while (!fits(data, size)) {
                ++counters.dropped_messages;
                counters.dropped_bytes += data[static_cast<std::size_t>(first)].bytes.size();
                data.erase(data.begin() + first);
            }
        }
        data.push_back(std::move(frame));
        ++counters.queued_messages;
        counters.queued_bytes += size;
        return send_status::queued;
    }

    // The frame to compress next; null if there is none.
    model_frame* take() {
        if (!compressing) return nullptr;
        std::size_t waiting = 0;
        for (auto& frame : data) {
            if (frame.taken) return nullptr;
            if (!frame.compressed) {
                if (waiting >= outbound_queue::most_compressed) return nullptr;
                if (!frame.as_is && frame.bytes.size() >= compress_from) {
                    frame.taken = true;
                    return &frame;
                }
                frame.compressed = true;
            }
            waiting += frame.rest().size();
        }
        return nullptr;
    }
    void put(const std::string& bytes, bool as_is) {
        for (auto& frame : data) {
            if (!frame.taken) continue;
            if (as_is) {
                ++deflated.messages;
                deflated.bytes += frame.bytes.size();
                deflated.to_bytes += bytes.size();
            }
            frame.bytes = bytes;
            frame.taken = false;
            frame.compressed = true;
        }
    }

    bool push_control(std::string bytes) {
        if (failed || close_written || (closed && close.empty()) || (!close.empty() && close[0].begun())) return true;
        if (sum(control) + sum(close) + bytes.size() > limits.max_control_bytes) return false;
        counters.queued_bytes += bytes.size();
        control.push_back({.bytes = std::move(bytes)});
        return true;
    }

    void set_close(std::string bytes) {
        if (bytes.empty()) return;
        counters.queued_bytes += bytes.size();
        close = {{.bytes = std::move(bytes)}};
    }
    bool push_close(std::string bytes) {
        if (closed) return false;
        closed = true;
        set_close(std::move(bytes));
        return true;
    }

    void discard_if(bool all) {
        const auto discard_from = [&](std::vector<model_frame>& frames, bool messages) {
            std::erase_if(frames, [&](const model_frame& frame) {
                if (frame.begun() && !all) return false;
                counters.discarded_bytes += frame.rest().size();
                if (messages) ++counters.discarded_messages;
                return true;
            });
        };
        discard_from(data, true);
        discard_from(control, false);
        if (all) discard_from(close, false);
    }
    void fail(std::string bytes) {
        if (failed) return;
        closed = failed = true;
        discard_if(false);
        if (close_written || (!close.empty() && close[0].begun())) return;
        counters.discarded_bytes += sum(close);
        close.clear();
        set_close(std::move(bytes));
    }
    void discard() {
        closed = failed = true;
        discard_if(true);
    }

    [[nodiscard]] std::vector<model_frame*> order() {
        std::vector<model_frame*> all;
        const bool begun = !data.empty() && data[0].written > 0;
        if (begun) all.push_back(&data[0]);
        for (auto& frame : control) all.push_back(&frame);
        for (std::size_t i = begun ? 1 : 0; i < data.size(); ++i) {
            if (compressing && !data[i].compressed) return all;
            all.push_back(&data[i]);
        }
        for (auto& frame : close) all.push_back(&frame);
        return all;
    }
    void land() {
        for (auto* frames : {&data, &control, &close}) {
            for (auto& frame : *frames) frame.in_flight = false;
        }
    }
    void gathered(std::string_view bytes) {
        land();
        for (auto* frame : order()) {
            if (bytes.empty()) return;
            const auto size = std::min(bytes.size(), frame->rest().size());
            check(bytes.substr(0, size) == frame->rest().substr(0, size), "gather gave other bytes than were queued");
            bytes.remove_prefix(size);
            frame->in_flight = true;
        }
        check(bytes.empty(), "gather gave more than was queued");
    }
    void written(std::size_t size) {
        counters.written_bytes += size;
        // A control frame that came later than the gather is not in flight, so it is passed over here.
        for (auto* frame : order()) {
            if (!frame->in_flight) continue;
            const auto taken = std::min(size, frame->rest().size());
            frame->written += taken;
            size -= taken;
        }
        land();
        std::erase_if(data, [&](const model_frame& frame) {
            if (!frame.rest().empty()) return false;
            ++counters.written_messages;
            return true;
        });
        std::erase_if(control, [](const model_frame& frame) { return frame.rest().empty(); });
        if (!close.empty() && close[0].rest().empty()) {
            close.clear();
            close_written = true;
        }
        if (failed) discard_if(false);
    }
};

std::string text(std::size_t size, std::size_t serial) {
    std::string bytes(size, '\0');
    for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>('!' + (serial * 7 + i) % 90);
    return bytes;
}

payload body_of(std::string_view bytes, std::size_t kind) {
    switch (kind) {
        case 0: return payload::copy(bytes);
        case 1: return payload{std::string{bytes}};
        case 2: return payload{std::vector<std::byte>(as_bytes(bytes).begin(), as_bytes(bytes).end())};
        default: return payload{slice::copy(as_bytes(bytes))};
    }
}

class harness {
public:
    harness(const outbound_limits& limits, memory_budget& budget) : queue_{limits, &budget}, model_{limits} {}

    void step(reader& in) {
        switch (in.below(12)) {
            case 0:
            case 1:
            case 2:
            case 3: push(in); break;
            case 4: {
                const auto bytes = text(1 + in.below(131), ++serial_);
                check(queue_.push_control(as_bytes(bytes)) == model_.push_control(bytes), "push_control");
                break;
            }
            case 5:
            case 6: gather(4, 64 * 1024); break;
            case 7: gather(in.below(5), in.pick(std::array<std::size_t, 6>{0, 1, 7, 64, 1000, 8192})); break;
            case 8: written(gathered_.size()); break;
            case 9: written(std::min(gathered_.size(), in.below(256))); break;
            case 10:
                if (model_.compressing) compress(in);
                else queue_.trim();
                break;
            default: end(in); break;
        }
        compare(in.below(256) * 8);
    }

    void drain() {
        while (!queue_.empty()) {
            reader none{nullptr, 0};
            compress(none);
            gather(4, 4096);
            check(!gathered_.empty(), "something waits, but gather gave nothing");
            written(gathered_.size());
            compare(0);
        }
        queue_.trim();
        compare(0);
    }

private:
    void push(reader& in) {
        constexpr std::array<std::size_t, 10> sizes{0, 1, 15, 48, 49, 300, 2034, 2048, 2049, 5000};
        const auto policy = static_cast<overflow_policy>(in.below(5));
        const auto key = in.below(3);
        const auto head_size = 1 + in.below(14);
        const auto body_size = in.pick(sizes);
        const auto bytes = text(head_size + body_size, ++serial_);
        outbound_frame frame;
        std::copy_n(as_bytes(bytes).begin(), head_size, frame.head.begin());
        frame.head_size = static_cast<std::uint8_t>(head_size);
        frame.body = body_of(std::string_view{bytes}.substr(head_size), in.below(4));
        if (serial_ % 5 == 0) queue_.defer_charges();
        frame.as_is = serial_ % 5 == 0;
        const bool as_is = frame.as_is;
        const auto status = queue_.push(std::move(frame), policy, key);
        check(status == model_.push({.bytes = bytes, .key = key, .as_is = as_is}, policy), "push");
    }
    // All that is to be compressed, with something happening between taking it and putting it back.
    void compress(reader& in) {
        for (;;) {
            auto frame = queue_.take_uncompressed();
            const auto* expected = model_.take();
            check(frame.has_value() == (expected != nullptr), "take_uncompressed");
            if (!frame) return;
            const std::string taken =
                std::string{as_text(bytes_view{frame->head}.first(frame->head_size))} + std::string{frame->body.text()};
            check(taken == expected->bytes, "another frame was taken");
            compare(0);
            for (std::size_t i = in.below(4); i > 0; --i) between(in);
            if (const auto kind = in.below(4); kind > 0) {
                const std::string smaller = kind == 3 ? taken + "!" : taken.substr(0, 1 + taken.size() / 3);
                *frame = {};
                frame->body = payload{smaller};
                frame->as_is = true;
                queue_.put_compressed(std::move(*frame));
                model_.put(smaller, true);
            } else {
                queue_.put_compressed(std::move(*frame));
                model_.put(taken, false);
            }
            compare(0);
        }
    }
    void between(reader& in) {
        switch (in.below(8)) {
            case 0: end(in); break;
            case 1: written(gathered_.size()); break;
            case 2: gather(4, 4096); break;
            default: push(in); break;
        }
        compare(0);
    }
    void gather(std::size_t elements, std::size_t scratch) {
        scratch_.resize(scratch);
        elements_.assign(elements, bytes_view{});
        elements_.resize(queue_.gather(elements_, scratch_));
        gathered_ = join();
        if (elements > 0 && scratch > 0 && !model_.compressing) check(gathered_.empty() == queue_.empty(), "gather makes no progress");
        model_.gathered(gathered_);
    }
    void written(std::size_t size) {
        check(join() == gathered_, "what was gathered has changed before it was written");
        queue_.written(size);
        model_.written(size);
        forget();
    }
    void end(reader& in) {
        const auto bytes = text(in.below(132), ++serial_);
        switch (in.below(16)) {
            case 0:
                queue_.discard();
                model_.discard();
                forget();
                break;
            case 1:
            case 2:
                queue_.fail(as_bytes(bytes));
                model_.fail(bytes);
                break;
            case 3:
            case 4:
            case 5: check(queue_.push_close(as_bytes(bytes)) == model_.push_close(bytes), "push_close"); break;
            case 6:
                if (model_.compressing || model_.counters.queued_bytes > 0) break;
                model_.compressing = true;
                model_.compress_from = in.below(256);
                queue_.compress_from(model_.compress_from);
                break;
            default: break;  // so that most sequences are long
        }
    }
    void forget() {
        elements_.clear();
        gathered_.clear();
    }
    [[nodiscard]] std::string join() const {
        std::string all;
        for (const auto& element : elements_) all += as_text(element);
        return all;
    }

    void compare(std::size_t probe) const {
        check(queue_.messages() == model_.data.size(), "messages");
        check(queue_.bytes() == model_.bytes(), "bytes");
        check(queue_.empty() == (model_.bytes() == 0), "empty");
        check(queue_.closed() == model_.closed, "closed");
        check(queue_.close_written() == model_.close_written, "close_written");
        check(queue_.has_room(probe) == (!model_.closed && model_.fits(model_.data, probe)), "has_room");
        const auto& c = queue_.counters();
        check(c == model_.counters, "counters");
        const auto d = queue_.deflated();
        check(d == model_.deflated, "deflated");
        check(c.queued_bytes + d.to_bytes == c.written_bytes + c.dropped_bytes + c.replaced_bytes +
                                                          c.discarded_bytes + queue_.bytes() + d.bytes,
              "bytes are lost");
        check(c.queued_messages == c.written_messages + c.dropped_messages + c.replaced_messages +
                                       c.discarded_messages + queue_.messages(),
              "messages are lost");
    }

    outbound_queue queue_;
    model model_;
    std::vector<std::byte> scratch_;
    std::vector<bytes_view> elements_;
    std::string gathered_;
    std::size_t serial_ = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    reader in{data, size};
    outbound_limits limits;
    limits.max_messages = in.pick(std::array<std::size_t, 5>{0, 1, 3, 20, 256});
    limits.max_bytes = in.pick(std::array<std::size_t, 5>{0, 64, 500, 6000, 100'000});
    limits.max_control_bytes = in.pick(std::array<std::size_t, 3>{0, 200, 4096});
    memory_budget budget{0};  // no limit: it must not change what the queue does
    {
        harness run{limits, budget};
        for (int steps = 0; steps < 2000 && !in.empty(); ++steps) run.step(in);
        run.drain();
    }
    check(budget.used() == 0, "memory stays charged");
    return 0;
}
