#include <kephas/base/memory_budget.hpp>

#include <doctest/doctest.h>

#include <thread>
#include <vector>

using namespace kephas;

TEST_CASE("a budget has room until what is charged reaches its limit") {
    memory_budget budget{1000};
    CHECK(budget.fits(1000));
    CHECK_FALSE(budget.fits(1001));
    budget.charge(600);
    CHECK(budget.used() == 600);
    CHECK(budget.fits(400));
    CHECK_FALSE(budget.fits(401));
    CHECK(budget.fits(300, 100));
    CHECK_FALSE(budget.fits(301, 100));
    CHECK_FALSE(budget.fits(0, 500));
    CHECK_FALSE(budget.fits(0, 5000));
    budget.charge(600);  // overdrawn
    CHECK_FALSE(budget.fits(0));
    budget.release(1200);
    CHECK(budget.used() == 0);
    CHECK_FALSE(budget.fits(static_cast<std::size_t>(-1)));
}

TEST_CASE("without a limit everything fits, and is counted") {
    memory_budget budget{0};
    budget.charge(std::size_t{1} << 40);
    CHECK(budget.fits(std::size_t{1} << 40));
    CHECK(budget.used() == std::size_t{1} << 40);
}

TEST_CASE("a block is charged once, for as long as somebody holds it") {
    memory_budget budget{1000};
    const slice block = slice::allocate(300);
    const slice part = block.sub(10, 20);
    CHECK(budget.cost_of(part) == 300);  // a part keeps the whole block alive
    CHECK(budget.hold(part));
    CHECK(budget.cost_of(block) == 0);
    CHECK(budget.hold(block));
    CHECK(budget.used() == 300);
    budget.let_go(part);
    CHECK(budget.used() == 300);
    budget.let_go(block);
    CHECK(budget.used() == 0);
    CHECK(budget.cost_of(block) == 300);
}

TEST_CASE("a block that another budget counts is left to that one, until it lets go") {
    memory_budget first{0};
    memory_budget second{0};
    const slice block = slice::allocate(100);
    CHECK(first.hold(block));
    CHECK_FALSE(second.hold(block));
    CHECK(second.used() == 0);
    CHECK(second.cost_of(block) == 100);
    first.let_go(block);
    CHECK(second.hold(block));
    CHECK(first.used() == 0);
    CHECK(second.used() == 100);
    second.let_go(block);
}

TEST_CASE("an empty slice costs nothing") {
    memory_budget budget{0};
    CHECK(budget.hold(slice{}));
    budget.let_go(slice{});
    CHECK(budget.used() == 0);
}

TEST_CASE("holders on many threads leave nothing charged") {
    memory_budget first{0};
    memory_budget second{0};
    const slice block = slice::allocate(64);
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) {
        threads.emplace_back([&, &budget = i % 2 == 0 ? first : second] {
            for (int round = 0; round < 20'000; ++round) {
                if (budget.hold(block)) budget.let_go(block);
            }
        });
    }
    for (auto& thread : threads) thread.join();
    CHECK(first.used() == 0);
    CHECK(second.used() == 0);
}
