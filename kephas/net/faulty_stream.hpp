#pragma once

#include <kephas/net/stream.hpp>

#include <asio/any_io_executor.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>

namespace kephas {

enum class stream_operation : std::uint8_t { read, write, wait_writable, shutdown };

/// What goes wrong with one operation of a stream.
enum class stream_fault : std::uint8_t {
    none,
    end,       ///< A read finds the end of the stream; any other operation is as `reset`.
    reset,     ///< The connection is lost, for this operation and all that follow; the peer gets a reset.
    shortened, ///< A read or a write moves one byte only; a wait ends although nothing is ready.
    blocked,   ///< A read goes on a little later; a write takes nothing; a shutdown does not happen.
    throws,    ///< The operation throws `std::runtime_error`; a shutdown, which must not, is as `reset`.
};

/// Asked before each operation.
using fault_plan = std::function<stream_fault(stream_operation)>;

/// A stream that fails as `plan` says, and otherwise does what `inner` does: for tests of what happens when something
/// goes wrong in the middle. `executor` is the one of `inner`.
[[nodiscard]] std::unique_ptr<stream> make_faulty_stream(std::unique_ptr<stream> inner,
                                                         const asio::any_io_executor& executor, fault_plan plan);

/// A plan in which the `which`-th operation (from 0), or the `which`-th of one kind, fails, and no other. Run a script
/// with 0, 1, 2, ... until it ends without the fault having been reached: then it has met it at each of its steps.
/// Lifetime: the plan refers to this.
class nth_fault {
public:
    nth_fault(std::size_t which, stream_fault fault) noexcept : left_{which}, fault_{fault} {}

    [[nodiscard]] fault_plan plan() {
        return [this](stream_operation) { return next(); };
    }
    [[nodiscard]] fault_plan plan(stream_operation only) {
        return [this, only](stream_operation operation) { return operation == only ? next() : stream_fault::none; };
    }
    [[nodiscard]] bool reached() const noexcept { return reached_; }

private:
    [[nodiscard]] stream_fault next() noexcept {
        if (reached_ || left_-- > 0) return stream_fault::none;
        reached_ = true;
        return fault_;
    }

    std::size_t left_;
    stream_fault fault_;
    bool reached_ = false;
};

}  // namespace kephas
