#include <kephas/net/slab_cache.hpp>

namespace kephas {

namespace {

class thread_slabs final : public slab_lender {
public:
    slice borrow_slab() override { return cache().borrow(); }
    void give_back_slab(slice slab) override { cache().give_back(std::move(slab)); }

private:
    static slab_cache& cache() {
        static thread_local slab_cache of_this_thread;
        return of_this_thread;
    }
};

}  // namespace

slab_lender& slabs_of_threads() noexcept {
    static thread_slabs all;
    return all;
}

}  // namespace kephas
