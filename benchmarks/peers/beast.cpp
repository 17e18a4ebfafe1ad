// The echo on Boost.Beast, with callbacks: one thread, no locks, no compression.
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/websocket.hpp>

#include <cstdio>
#include <memory>
#include <utility>

namespace asio = boost::asio;
namespace beast = boost::beast;
using boost::system::error_code;
using asio::ip::tcp;

namespace {

// the executor as a type of its own: each operation is spared the indirection of any_io_executor
using io_executor = asio::io_context::executor_type;
using tcp_stream = beast::basic_stream<tcp, io_executor, beast::unlimited_rate_policy>;
using tcp_socket = asio::basic_stream_socket<tcp, io_executor>;
using tcp_acceptor = asio::basic_socket_acceptor<tcp, io_executor>;

class session : public std::enable_shared_from_this<session> {
public:
    explicit session(tcp_socket socket) : stream_{std::move(socket)} {}

    void start() {
        beast::get_lowest_layer(stream_).socket().set_option(tcp::no_delay{true});
        stream_.read_message_max(10 * 1024 * 1024 + 4);
        stream_.auto_fragment(false);
        stream_.async_accept([self = shared_from_this()](error_code error) {
            if (!error) self->read();
        });
    }

private:
    void read() {
        stream_.async_read(buffer_, [self = shared_from_this()](error_code error, std::size_t) {
            if (!error) self->write();
        });
    }

    void write() {
        stream_.text(stream_.got_text());
        stream_.async_write(buffer_.data(), [self = shared_from_this()](error_code error, std::size_t) {
            if (error) return;
            self->buffer_.clear();
            self->read();
        });
    }

    beast::websocket::stream<tcp_stream> stream_;
    beast::flat_buffer buffer_;
};

void accept(tcp_acceptor& acceptor) {
    acceptor.async_accept([&acceptor](error_code error, tcp_socket socket) {
        if (!error) std::make_shared<session>(std::move(socket))->start();
        accept(acceptor);
    });
}

}  // namespace

int main() {
    asio::io_context context{1};
    tcp_acceptor acceptor{context, tcp::endpoint{asio::ip::address_v4::loopback(), 0}};
    std::printf("listening on 127.0.0.1:%u\n", static_cast<unsigned>(acceptor.local_endpoint().port()));
    std::fflush(stdout);
    accept(acceptor);
    context.run();
}
