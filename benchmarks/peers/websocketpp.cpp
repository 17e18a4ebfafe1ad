// The echo on websocketpp with its own Asio transport, as C++17: one thread, no locks, no logs, no compression.
#include <websocketpp/config/asio_no_tls.hpp>
#include <websocketpp/server.hpp>

#include <websocketpp/concurrency/none.hpp>

#include <cstdio>

namespace {

struct config : websocketpp::config::asio {
    using concurrency_type = websocketpp::concurrency::none;
    using base = websocketpp::config::asio;
    using alog_type = websocketpp::log::basic<concurrency_type, websocketpp::log::alevel>;
    using elog_type = websocketpp::log::basic<concurrency_type, websocketpp::log::elevel>;
    static const websocketpp::log::level alog_level = websocketpp::log::alevel::none;
    static const websocketpp::log::level elog_level = websocketpp::log::elevel::none;
    static const bool enable_multithreading = false;

    struct transport_config : base::transport_config {
        using concurrency_type = config::concurrency_type;
        using alog_type = config::alog_type;
        using elog_type = config::elog_type;
        static const bool enable_multithreading = false;
    };
    using transport_type = websocketpp::transport::asio::endpoint<transport_config>;
};

using server = websocketpp::server<config>;

}  // namespace

int main() {
    server echo;
    echo.set_error_channels(websocketpp::log::elevel::none);
    echo.set_access_channels(websocketpp::log::alevel::none);
    echo.init_asio();
    echo.set_reuse_addr(true);
    echo.set_max_message_size(10 * 1024 * 1024 + 4);
    echo.set_tcp_post_init_handler([&](websocketpp::connection_hdl handle) {
        websocketpp::lib::error_code error;
        echo.get_con_from_hdl(handle, error)->get_raw_socket().set_option(asio::ip::tcp::no_delay{true});
    });
    echo.set_message_handler([&](websocketpp::connection_hdl handle, const server::message_ptr& message) {
        websocketpp::lib::error_code error;  // the connection may have gone meanwhile
        echo.send(handle, message->get_payload(), message->get_opcode(), error);
    });
    echo.listen(asio::ip::tcp::endpoint{asio::ip::address_v4::loopback(), 0});
    echo.start_accept();
    websocketpp::lib::asio::error_code error;
    std::printf("listening on 127.0.0.1:%u\n", static_cast<unsigned>(echo.get_local_endpoint(error).port()));
    std::fflush(stdout);
    echo.run();
}
