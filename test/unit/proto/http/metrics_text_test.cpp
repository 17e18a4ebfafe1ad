#include <kephas/proto/http/metrics_text.hpp>

#include <support/metrics_parser.hpp>

#include <doctest/doctest.h>

#include <limits>

using namespace kephas;
using kephas::test::metrics_page;
using http::metrics_text;

TEST_CASE("a metric is its help, its type and its samples") {
    metrics_text text;
    text.begin("a_total", metrics_text::kind::counter, "How many.");
    text.sample(std::uint64_t{18446744073709551615U});
    text.begin("b", metrics_text::kind::gauge, "How much.");
    text.sample(1.5, {{"x", "1"}});
    text.sample(std::uint64_t{0}, {{"x", "2"}, {"y", ""}});
    CHECK(text.text() ==
          "# HELP a_total How many.\n# TYPE a_total counter\na_total 18446744073709551615\n"
          "# HELP b How much.\n# TYPE b gauge\nb{x=\"1\"} 1.5\nb{x=\"2\",y=\"\"} 0\n");
    const metrics_page page{text.text()};
    CHECK(page["b{x=\"1\"}"] == 1.5);
    CHECK(page.sum("b") == 1.5);
}

TEST_CASE("help texts and labels cannot break out of their line") {
    metrics_text text;
    text.begin("a", metrics_text::kind::gauge, "back\\slash, \"quotes\"\nand a line");
    text.sample(std::uint64_t{1}, {{"x", "\\ \" \n }"}});
    CHECK(text.text() == "# HELP a back\\\\slash, \"quotes\"\\nand a line\n# TYPE a gauge\na{x=\"\\\\ \\\" \\n }\"} 1\n");
    CHECK_NOTHROW(metrics_page{text.text()});
}

TEST_CASE("what is no number is written as Prometheus wants it") {
    metrics_text text;
    text.begin("a", metrics_text::kind::gauge, "x");
    text.sample(std::numeric_limits<double>::infinity(), {{"x", "1"}});
    text.sample(-std::numeric_limits<double>::infinity(), {{"x", "2"}});
    text.sample(std::numeric_limits<double>::quiet_NaN(), {{"x", "3"}});
    CHECK(text.text().ends_with("a{x=\"1\"} +Inf\na{x=\"2\"} -Inf\na{x=\"3\"} NaN\n"));
}

TEST_CASE("the parser of the tests is strict") {
    const std::string head = "# HELP a x\n# TYPE a gauge\n";
    CHECK_NOTHROW(metrics_page{head + "a 1\n"});
    CHECK_NOTHROW(metrics_page{head});
    for (const char* rest : {"a 1", "a\n", "a  1\n", "a 1 \n", "a 1 2\n", "a x\n", "b 1\n", "a{} 1\na{} 1\n", "a{x=\"1\",} 1\n", "a{x=1} 1\n",
                             "a{x=\"1\",x=\"1\"} 1\n", "a{x=\"\\t\"} 1\n", "a{x=\"1} 1\n", "\n", "# TYPE a gauge\n", "# HELP b x\n", "# HELP b\n",
                             "# HELP a x\n# TYPE a gauge\n", "# HELP b x\n# TYPE b counter\n", "# HELP b_total x\n# TYPE b_total gauge\n",
                             "# HELP b_total x\n# TYPE b_total counter\nb_total -1\n", "1a 1\n", "# HELP b x\n# TYPE b summary\n"}) {
        CAPTURE(rest);
        CHECK_THROWS(metrics_page{head + rest});
    }
}
