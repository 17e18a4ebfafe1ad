#include "run.hpp"

#include "generator.hpp"
#include "reconnector.hpp"

#include <array>
#include <chrono>
#include <condition_variable>
#include <ctime>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

namespace bench {

namespace {

using namespace std::chrono_literals;

constexpr auto progress_pause = 250ms;

std::int64_t own_cpu_nanoseconds() noexcept {
    timespec used{};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return std::int64_t{used.tv_sec} * 1'000'000'000 + used.tv_nsec;
}

/// What the processes have spent between two moments.
class cpu_meter {
public:
    explicit cpu_meter(const server_process* server) : server_{server} {}
    void start() { time_ = read(); }
    void stop() {
        const reading now = read();
        time_ = {now.server - time_.server, now.client - time_.client, now.at - time_.at};
    }
    void report(measurement& m) const {
        m.server_cpu_nanoseconds = time_.server;
        m.client_cpu_nanoseconds = time_.client;
        m.seconds = static_cast<double>(time_.at) / 1e9;
    }

private:
    struct reading {
        std::int64_t server = 0;
        std::int64_t client = 0;
        std::int64_t at = 0;
    };
    [[nodiscard]] reading read() const {
        return {server_ != nullptr ? server_->cpu_nanoseconds() : 0, own_cpu_nanoseconds(), monotonic_ns()};
    }

    const server_process* server_;
    reading time_;
};

/// The threads with their loads. They go on together: nobody sends before all are connected, and nobody closes
/// before all is answered. The first that fails stops the others.
class crew {
public:
    crew(const options& o, const server_address& server, const tls_settings& tls) {
        for (std::size_t i = 0; i < o.threads; ++i) {
            if (o.reconnect)
                loads_.push_back(std::make_unique<reconnector>(o, server, i));
            else
                loads_.push_back(std::make_unique<generator>(o, server, tls, i));
        }
        for (std::size_t i = 0; i < o.threads; ++i) threads_.emplace_back([this, i] { work(i); });
    }
    ~crew() {
        stop();
        for (std::thread& each : threads_) each.join();
    }
    crew(const crew&) = delete;
    crew& operator=(const crew&) = delete;

    enum stage : std::size_t { connected, answered, gone };

    /// Until all threads are there; calls `idle` now and then. Throws what one of them has thrown.
    void wait_for(stage wanted, const std::function<void()>& idle) {
        std::unique_lock lock{mutex_};
        while (
            !changed_.wait_for(lock, progress_pause, [&] { return arrived_[wanted] == threads_.size() || error_; })) {
            lock.unlock();
            idle();
            lock.lock();
        }
        if (error_) std::rethrow_exception(error_);
    }
    void start(const plan& p) {
        const std::scoped_lock lock{mutex_};
        plan_ = p;
        changed_.notify_all();
    }
    void leave() {
        const std::scoped_lock lock{mutex_};
        leaving_ = true;
        changed_.notify_all();
    }

    [[nodiscard]] const std::vector<std::unique_ptr<load>>& loads() const noexcept { return loads_; }
    [[nodiscard]] std::size_t clean_closes() const noexcept { return clean_closes_; }  ///< After all are gone.

private:
    void work(std::size_t index) noexcept {
        load& mine = *loads_[index];
        try {
            mine.prepare();
            arrive(connected);
            if (!wait([this] { return plan_.has_value(); })) return;
            plan p = *plan_;
            if (index > 0) p.at_from = p.at_to = nullptr;
            mine.run(p);
            arrive(answered);
            if (!wait([this] { return leaving_; })) return;
            const std::size_t clean = mine.say_goodbye();
            arrive(gone, clean);
        } catch (...) {
            const std::scoped_lock lock{mutex_};
            if (!error_) error_ = std::current_exception();
            changed_.notify_all();
        }
    }
    void arrive(stage at, std::size_t clean = 0) {
        const std::scoped_lock lock{mutex_};
        ++arrived_[at];
        clean_closes_ += clean;
        changed_.notify_all();
    }
    /// False if there is nothing to wait for any more.
    template <class Condition>
    bool wait(const Condition& condition) {
        std::unique_lock lock{mutex_};
        changed_.wait(lock, [&] { return stopped_ || condition(); });
        return !stopped_;
    }
    void stop() {
        const std::scoped_lock lock{mutex_};
        stopped_ = true;
        for (const auto& each : loads_) each->stop();
        changed_.notify_all();
    }

    std::vector<std::unique_ptr<load>> loads_;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::optional<plan> plan_;
    bool leaving_ = false;
    bool stopped_ = false;
    std::array<std::size_t, 3> arrived_{};
    std::size_t clean_closes_ = 0;
    std::exception_ptr error_;
    std::vector<std::thread> threads_;
};

plan made_from(const options& o, cpu_meter& meter) {
    plan p;
    p.begin = p.from = monotonic_ns();
    p.at_from = [&meter] { meter.start(); };
    if (o.messages) return p;
    p.from += static_cast<std::int64_t>(o.warmup * 1e9);
    p.to = p.from + static_cast<std::int64_t>(o.seconds * 1e9);
    p.at_to = [&meter] { meter.stop(); };
    return p;
}

/// Waits until the process has kept its size for half a second.
std::int64_t settled_resident_bytes(const server_process& server) {
    std::int64_t last = server.resident_bytes();
    for (int unchanged = 0; unchanged < 5; ++unchanged) {
        std::this_thread::sleep_for(100ms);
        if (const auto now = server.resident_bytes(); now != last) {
            last = now;
            unchanged = -1;
        }
    }
    return last;
}

}  // namespace

measurement run(const options& o, const server_process* server, const std::function<void(const progress&)>& watch) {
    const server_address address{o.server};
    const tls_settings tls{o.insecure};
    cpu_meter meter{server};
    crew threads{o, address, tls};
    threads.wait_for(crew::connected, [] {});
    const plan p = made_from(o, meter);
    threads.start(p);
    threads.wait_for(crew::answered, [&] {
        progress now{static_cast<double>(monotonic_ns() - p.begin) / 1e9, o.messages ? 0 : o.warmup + o.seconds, 0};
        for (const auto& each : threads.loads()) now.messages += each->answered();
        if (watch) watch(now);
    });
    if (o.messages) meter.stop();

    measurement m;
    meter.report(m);
    for (const auto& each : threads.loads()) {
        m.latencies.add(each->results().latencies);
        m.lags.add(each->results().lags);
        m.replies += each->results().replies;
    }
    if (server != nullptr) m.server_resident_bytes = server->resident_bytes();
    threads.leave();
    threads.wait_for(crew::gone, [] {});
    m.clean_closes = threads.clean_closes();
    return m;
}

idle_memory measure_idle(const options& o, const server_process& server) {
    const server_address address{o.server};
    const tls_settings tls{o.insecure};
    options all = o;
    all.threads = 1;
    generator clients{all, address, tls, 0};
    clients.connect(1);
    const std::int64_t before = settled_resident_bytes(server);
    clients.connect(o.connections + 1);
    const std::int64_t after = settled_resident_bytes(server);
    return {after, static_cast<double>(after - before) / static_cast<double>(o.connections)};
}

}  // namespace bench
