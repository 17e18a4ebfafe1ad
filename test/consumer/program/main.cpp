// A program of somebody who installed kephas: it includes, links and runs.

#include <kephas/base/uuid.hpp>
#include <kephas/proto/websocket/close_code.hpp>

#include <cstdio>

int main() {
    const auto id = kephas::uuid::parse("00112233-4455-6677-8899-aabbccddeeff");
    if (!id || id->to_string() != "00112233-4455-6677-8899-aabbccddeeff") return 1;
    if (!kephas::may_reconnect(kephas::close_code::going_away)) return 1;
    std::puts("consumer: ok");
    return 0;
}
