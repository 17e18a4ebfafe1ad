"""include_cost_test.py SOURCE_ROOT -- COMPILER...: what a program pays for <kephas/kephas.hpp>, in lines.

How long that takes to compile depends on the machine (compile_times.sh beside this file tells); what it makes the compiler
read does not. Everything is compared with the part of Asio that no program with awaitables can do without.
"""
import collections
import re
import subprocess
import sys
import unittest

SOURCE_ROOT, COMPILER = None, []
MARKER = re.compile(r'^# \d+ "([^"]*)"')
LEAST = "#include <asio/any_io_executor.hpp>\n#include <asio/awaitable.hpp>\n#include <asio/io_context.hpp>\n"


def preprocessed(text):
    """The lines that are left of `text`, blank ones aside: how many, by the file that they come from."""
    command = [*COMPILER, "-std=c++20", "-I", SOURCE_ROOT, "-x", "c++", "-E", "-"]
    result = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        # the wraps of a build lie elsewhere
        raise unittest.SkipTest("the headers are not those of the system: " + result.stderr.splitlines()[0])
    lines, current = collections.Counter(), ""
    for line in result.stdout.splitlines():
        if marker := MARKER.match(line):
            current = marker[1]
            lines[current] += 0
        elif line.strip():
            lines[current] += 1
    return lines


def of(lines, part):
    return sum(count for name, count in lines.items() if part in name)


class IncludeCost(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.least = preprocessed(LEAST)
        cls.lines = preprocessed("#include <kephas/kephas.hpp>\n")
        total = sum(cls.lines.values())
        cls.ours = sum(count for name, count in cls.lines.items() if name.startswith(SOURCE_ROOT + "/kephas/"))
        print(f"<kephas/kephas.hpp>: {total} lines, of which kephas {cls.ours}, Asio {of(cls.lines, '/asio/')}, "
              f"fmt {of(cls.lines, '/fmt/')}; the least of Asio: {sum(cls.least.values())} lines")

    def test_our_own_headers_are_small(self):
        self.assertGreater(self.ours, 500, "is it found at all?")
        self.assertLess(self.ours, 3_000)

    def test_all_of_it_is_little_more_than_what_awaitables_need(self):
        self.assertLess(sum(self.lines.values()), 1.7 * sum(self.least.values()))

    def test_no_third_party_but_asio_and_the_core_of_fmt(self):
        heavy = ("/rapidjson/", "/websocketpp/", "/openssl/", "/hiredis/", "/doctest/", "/CLI/", "zlib.h", "zconf.h", "/asio/ssl", "/asio.hpp")
        self.assertEqual([name for name in self.lines if any(part in name for part in heavy)], [])
        fmt = {name.rpartition("/")[2] for name in self.lines if "/fmt/" in name}
        self.assertLessEqual(fmt, {"base.h", "core.h", "format.h"})

    def test_a_heavy_header_would_be_noticed(self):
        lines = preprocessed("#include <kephas/kephas.hpp>\n#include <asio.hpp>\n")
        self.assertGreater(sum(lines.values()), sum(self.lines.values()))
        self.assertIn("/asio.hpp", " ".join(lines))


if __name__ == "__main__":
    split = sys.argv.index("--")
    SOURCE_ROOT, COMPILER = sys.argv[1], sys.argv[split + 1:]
    unittest.main(argv=sys.argv[:1])
