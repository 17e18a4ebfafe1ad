// What a look at the clock costs, beside the steady clock that it reads.
#include <kephas/base/clock.hpp>

#include <benchmark/benchmark.h>

using namespace kephas;

namespace {

void read_clock(benchmark::State& state) {
    for (auto _ : state) benchmark::DoNotOptimize(clock::now());
}
BENCHMARK(read_clock);

void read_steady_clock(benchmark::State& state) {
    for (auto _ : state) benchmark::DoNotOptimize(std::chrono::steady_clock::now());
}
BENCHMARK(read_steady_clock);

}  // namespace
