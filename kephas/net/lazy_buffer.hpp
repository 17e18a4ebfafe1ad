#pragma once

#include <kephas/net/stream.hpp>

#include <asio/buffer.hpp>
#include <asio/detail/buffer_sequence_adapter.hpp>

namespace kephas::detail {

/// A buffer sequence of one buffer whose memory is borrowed when the read is performed, not when it is started.
/// Asio's reactor performs a read at the moment at which the socket is readable, but may *post* its completion and
/// perform reads of other sockets in between: so each operation borrows memory of its own. See docs/design/lazy-reads.md.
struct lazy_buffer {
    read_buffer* target;
};

[[nodiscard]] inline asio::mutable_buffer memory_for(const lazy_buffer& buffer) {
    read_buffer& target = *buffer.target;
    if (!target.direct.empty()) return {target.direct.data(), target.direct.size()};
    if (target.slab.empty()) target.slab = target.lender->borrow_slab();
    return {target.slab.data(), target.slab.size()};
}

}  // namespace kephas::detail

namespace asio::detail {

/// Asio constructs this adapter when it performs a read, and asks `all_empty` of the sequence alone when it starts
/// one. Were it renamed in a later version, the code would not compile; were it used at another time, a slab would
/// be borrowed earlier, which costs memory and nothing else.
template <>
class buffer_sequence_adapter<asio::mutable_buffer, kephas::detail::lazy_buffer> : buffer_sequence_adapter_base {
public:
    enum { is_single_buffer = true };
    enum { is_registered_buffer = false };
    enum { linearisation_storage_size = 1 };

    explicit buffer_sequence_adapter(const kephas::detail::lazy_buffer& sequence) {
        const asio::mutable_buffer memory = kephas::detail::memory_for(sequence);
        init_native_buffer(buffer_, memory);
        total_buffer_size_ = memory.size();
    }

    native_buffer_type* buffers() { return &buffer_; }
    std::size_t count() const { return 1; }
    std::size_t total_size() const { return total_buffer_size_; }
    registered_buffer_id registered_id() const { return registered_buffer_id(); }
    bool all_empty() const { return total_buffer_size_ == 0; }

    static bool all_empty(const kephas::detail::lazy_buffer& /*sequence*/) { return false; }
    static void validate(const kephas::detail::lazy_buffer& /*sequence*/) {}
    static asio::mutable_buffer first(const kephas::detail::lazy_buffer& sequence) {
        return kephas::detail::memory_for(sequence);
    }

private:
    native_buffer_type buffer_;
    std::size_t total_buffer_size_;
};

}  // namespace asio::detail
