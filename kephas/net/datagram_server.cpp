#include <kephas/base/error.hpp>

#include <kephas/net/datagram_server.hpp>
#include <kephas/net/server_life.hpp>

#include <asio/any_io_executor.hpp>
#include <asio/bind_cancellation_slot.hpp>
#include <asio/cancellation_signal.hpp>
#include <asio/co_spawn.hpp>
#include <asio/post.hpp>
#include <asio/strand.hpp>

#include <fmt/format.h>

#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <utility>

namespace kephas {

void datagram_server_options::validate() const {
    socket.validate();
    const auto require = [](bool holds, const char* what) {
        if (!holds) throw std::invalid_argument{what};
    };
    require(drain_timeout >= duration::zero(), "drain_timeout is negative");
    require((access.mode & ~mode_t{0777}) == 0, "access.mode has bits that are no rights of a file");
}

class datagram_server::implementation final : public server_life {
public:
    implementation(address where, handler serve, datagram_server_options options, asio::io_context* context)
        : server_life{options.drain_timeout, options.log, options.on_message},
          where_{std::move(where)},
          handler_{std::move(serve)},
          options_{std::move(options)},
          embedding_{context} {
        options_.validate();
        if (!handler_) throw std::invalid_argument{"a server needs a handler"};
        const auto refuse = [this](const char* why) {
            throw error{errc::invalid_address, fmt::format("\"{}\": {}", to_string(where_), why)};
        };
        if (!is_datagram(where_.kind)) refuse("streams have a server of their own");
        if (where_.tls) refuse("there is no TLS for datagrams");
        if (context == nullptr) owned_.emplace(1);
    }

    void listen() override;
    [[nodiscard]] bool run() {
        asio::io_context* const contexts[] = {&*owned_};
        return server_life::run(contexts);
    }
    [[nodiscard]] bool owned() const noexcept { return owned_.has_value(); }
    [[nodiscard]] std::string local_address() const override {
        const std::lock_guard lock{mutex_};
        return local_address_;
    }

private:
    /// The socket and its handler, on their executor.
    struct live {
        live(const asio::any_io_executor& executor, const address& where, const datagram_server_options& options)
            : socket{executor, where, options.socket, options.access} {}
        datagram_socket socket;
        asio::cancellation_signal cancel;
        bool failed = false;  // because of what the handler has thrown
    };

    void start() override;
    void stop() override;
    void cut() override;
    [[nodiscard]] bool finish() override;
    [[nodiscard]] asio::awaitable<void> run_handler(std::shared_ptr<live> who);
    void handler_ended(const std::shared_ptr<live>& who, const std::exception_ptr& failure);
    template <class What>
    void on_its_thread(What what) const {
        asio::post(live_->socket.get_executor(), [who = live_, what] { what(*who); });
    }
    void tell_failure(const std::exception_ptr& failure) noexcept;

    const address where_;
    const handler handler_;
    const datagram_server_options options_;
    asio::io_context* const embedding_;  // the program's, or null
    std::optional<asio::io_context> owned_;

    mutable std::mutex mutex_;
    std::shared_ptr<live> live_;
    std::string local_address_;
};

void datagram_server::implementation::tell_failure(const std::exception_ptr& failure) noexcept {
    if (options_.on_error) guarded("on_error", [&] { options_.on_error(failure); });
    else guarded("the handler of datagrams", [&] { std::rethrow_exception(failure); });
}

void datagram_server::implementation::listen() {
    std::string text;
    {
        const std::lock_guard lock{mutex_};
        if (live_ || gone()) return;
        asio::any_io_executor executor;
        if (owned_) executor = owned_->get_executor();
        else executor = asio::make_strand(*embedding_);
        live_ = std::make_shared<live>(executor, where_, options_);
        local_address_ = live_->socket.local_address();
        text = fmt::format("listening on {}://{}", to_string(where_.kind), local_address_);
    }
    say(text);
}

void datagram_server::implementation::start() {
    if (!begin_task()) return;
    auto ended = [self = std::static_pointer_cast<implementation>(shared_from_this()), who = live_](const std::exception_ptr& failure) {
        self->handler_ended(who, failure);
    };
    asio::co_spawn(live_->socket.get_executor(), run_handler(live_),
                   asio::bind_cancellation_slot(live_->cancel.slot(), std::move(ended)));
}

void datagram_server::implementation::stop() {
    on_its_thread([](live& which) { which.socket.stop_receiving(); });
}

void datagram_server::implementation::cut() {
    on_its_thread([](live& which) {
        which.socket.close();
        which.cancel.emit(asio::cancellation_type::terminal);
    });
}

bool datagram_server::implementation::finish() {
    const bool failed = live_->failed;  // its task has ended
    on_its_thread([](live& which) { which.socket.close(); });  // if there was none; and it may end there
    const std::lock_guard lock{mutex_};
    live_ = nullptr;
    return !failed;
}

asio::awaitable<void> datagram_server::implementation::run_handler(std::shared_ptr<live> who) {
    const auto returned = [&] { return who->socket.counters().received - who->socket.pending(); };
    for (;;) {
        const std::uint64_t before = returned();
        std::exception_ptr failure;
        try {
            co_await handler_(who->socket);
        } catch (...) {
            failure = std::current_exception();
        }
        if (!failure) {
            co_await who->socket.flush();
            co_return;
        }
        if (!who->socket.is_open()) co_return;  // that is why
        tell_failure(failure);
        const bool in_vain = returned() == before;
        if (in_vain || ending()) {
            who->failed = true;
            co_return;
        }
    }
}

/// On the executor of the socket.
void datagram_server::implementation::handler_ended(const std::shared_ptr<live>& who, const std::exception_ptr& failure) {
    if (failure && who->socket.is_open()) tell_failure(failure);
    who->socket.close();
    end_task();
}

datagram_server::datagram_server(std::string_view where, handler serve, datagram_server_options options)
    : datagram_server{address::parse(where), std::move(serve), std::move(options)} {}

datagram_server::datagram_server(address where, handler serve, datagram_server_options options)
    : implementation_{std::make_shared<implementation>(std::move(where), std::move(serve), std::move(options), nullptr)} {}

datagram_server::datagram_server(asio::io_context& context, std::string_view where, handler serve, datagram_server_options options)
    : datagram_server{context, address::parse(where), std::move(serve), std::move(options)} {}

datagram_server::datagram_server(asio::io_context& context, address where, handler serve, datagram_server_options options)
    : implementation_{std::make_shared<implementation>(std::move(where), std::move(serve), std::move(options), &context)} {}

datagram_server::~datagram_server() = default;

void datagram_server::listen() { implementation_->listen(); }

bool datagram_server::run() {
    if (!implementation_->owned()) throw std::logic_error{"run() is for a server with a thread of its own: await serve()"};
    return implementation_->run();
}

asio::awaitable<bool> datagram_server::serve() {
    if (implementation_->owned()) throw std::logic_error{"serve() is for a server in a context of the program's: call run()"};
    return implementation_->serve();
}

void datagram_server::shutdown(time_point deadline) { implementation_->shutdown(deadline); }
bool datagram_server::is_running() const noexcept { return implementation_->running(); }
bool datagram_server::is_gone() const noexcept { return implementation_->gone(); }
std::string datagram_server::local_address() const { return implementation_->local_address(); }

}  // namespace kephas
