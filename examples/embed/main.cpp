// kephas inside an Asio program that exists already: one io_context, run by one thread, with other work on it.
#include <kephas/kephas.hpp>

#include <asio/bind_cancellation_slot.hpp>
#include <asio/cancellation_signal.hpp>
#include <asio/co_spawn.hpp>
#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/redirect_error.hpp>
#include <asio/signal_set.hpp>
#include <asio/use_awaitable.hpp>

#include <cstdio>
#include <exception>
#include <optional>

namespace {

/// The program's own acceptor: it might look at each connection first, and then hands it over.
asio::awaitable<void> accept_for(kephas::server& server, asio::ip::tcp::acceptor& acceptor) {
    for (;;) {
        std::error_code ec;
        asio::ip::tcp::socket socket =
            co_await acceptor.async_accept(asio::redirect_error(asio::use_awaitable, ec));
        if (ec) co_return;
        server.attach(std::move(socket));
    }
}

void report(std::exception_ptr failure) {
    if (failure) std::rethrow_exception(failure);
}

}  // namespace

int main() {
    asio::io_context context;

    kephas::router routes;
    routes.on(kephas::command_id{0x0100}, [](kephas::request req) -> asio::awaitable<std::optional<kephas::payload>> {
        co_return kephas::payload{req.share()};
    });
    //[embed
    kephas::server_options options;
    options.listen = {"ws://127.0.0.1:0/ws"};
    kephas::server server{context, std::move(routes), options};
    server.listen();

    asio::cancellation_signal stop;  // cancelling serve() means a drain
    asio::co_spawn(context, server.serve(),
                   asio::bind_cancellation_slot(stop.slot(), [](std::exception_ptr failure, kephas::drain_report left) {
                       report(failure);
                       std::printf("drained: %zu left in time\n", left.left_in_time);
                       std::fflush(stdout);
                   }));
    //]
    asio::ip::tcp::acceptor acceptor{context, {asio::ip::address_v4::loopback(), 0}};
    asio::co_spawn(context, accept_for(server, acceptor), report);
    std::printf("listening on 127.0.0.1:%u, attaching from 127.0.0.1:%u\n", static_cast<unsigned>(server.port()),
                static_cast<unsigned>(acceptor.local_endpoint().port()));
    std::fflush(stdout);

    asio::signal_set signals{context, SIGINT, SIGTERM};
    signals.async_wait([&](std::error_code ec, int) {
        if (ec) return;
        acceptor.close();
        stop.emit(asio::cancellation_type::terminal);
    });
    context.run();
}
