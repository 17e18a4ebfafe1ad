// Each script of a client is run again and again, with the next of its operations failing each time, until it ends
// without having met the fault. Whatever fails, the server is in order afterwards.
#include <support/fault_runs.hpp>

#include <doctest/doctest.h>

using namespace kephas;
using namespace kephas::test;

namespace {

connection connect_faulty(virtual_world& world, const fault_plan& plan) {
    return {world.connect(64 * 1024, [&](std::unique_ptr<stream> inner, const auto& executor) {
        return make_faulty_stream(std::move(inner), executor, plan);
    })};
}

}  // namespace

TEST_CASE("bytes that come and go one at a time, or not at once, change nothing of what a client sees") {
    const auto seen = [](const script& each, const fault_plan& plan) {
        return server_with_faults{}.run(each, plan, connect_faulty);
    };
    for (const script& each : scripts()) {
        CAPTURE(each.name);
        const events expected = seen(each, [](stream_operation) { return stream_fault::none; });
        CHECK(expected.size() > 0);
        const auto moves = [](stream_operation operation) {
            return operation == stream_operation::read || operation == stream_operation::write;
        };
        CHECK(seen(each, [&](stream_operation operation) {
                  return moves(operation) ? stream_fault::shortened : stream_fault::none;
              }) == expected);
        std::size_t turn = 0;
        CHECK(seen(each, [&](stream_operation operation) {
                  if (!moves(operation)) return stream_fault::none;
                  return turn++ % 2 == 0 ? stream_fault::blocked : stream_fault::shortened;
              }) == expected);
    }
}

TEST_CASE("whatever operation of a connection fails, the server is in order afterwards") {
    const run_meter meter;
    std::size_t runs = 0;
    for (const script& each : scripts()) {
        for (const stream_fault fault :
             {stream_fault::end, stream_fault::reset, stream_fault::shortened, stream_fault::blocked, stream_fault::throws}) {
            runs += 1 + run_with_each_fault(each, fault, connect_faulty);
        }
    }
    meter.print(runs);
    CHECK(runs > 300);
}
