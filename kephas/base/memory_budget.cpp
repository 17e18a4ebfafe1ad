#include <kephas/base/memory_budget.hpp>

namespace kephas {

std::uint32_t memory_budget::next_account() noexcept {
    static std::atomic<std::uint32_t> last{0};
    return last.fetch_add(1, std::memory_order_relaxed) + 1;
}

}  // namespace kephas
