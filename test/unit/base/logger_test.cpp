#include <kephas/base/logger.hpp>

#include <doctest/doctest.h>

#include <stdexcept>
#include <vector>

using namespace kephas;

TEST_CASE("only lines at or above the level reach the sink") {
    std::vector<std::string> lines;
    const logger log{log_level::warning, [&](log_level, std::string_view line) { lines.emplace_back(line); }};
    log.info("not {}", "this");
    log.warning("this {}", 1);
    log.error("and {}", "this");
    CHECK(lines == std::vector<std::string>{"this 1", "and this"});
}

TEST_CASE("a logger without a sink and a sink that throws are harmless") {
    logger{}.error("nobody");
    logger{log_level::debug, [](log_level, std::string_view) { throw std::runtime_error{"disk full"}; }}.info("lost");
}

TEST_CASE("text of a peer cannot forge a line or flood the log") {
    CHECK(escaped("a\nWARNING forged\x1b[31m \xff \\") == "a\\x0aWARNING forged\\x1b[31m \\xff \\x5c");
    CHECK(escaped(std::string(300, 'x')) == std::string(200, 'x') + "...");
}
