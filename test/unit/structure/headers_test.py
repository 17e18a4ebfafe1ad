"""headers_test.py SOURCE_ROOT HEADER... -- COMPILER...: each header compiles alone.

The build compiles a source file for each header, see meson.build; that it exists is half of the test. Here: none was
forgotten, and such a source file does fail when a header leans on what others include.
"""
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

SOURCE_ROOT, COMPILED, COMPILER = None, [], []


def compiles(header):
    with tempfile.TemporaryDirectory() as directory:
        Path(directory, "header.hpp").write_text("#pragma once\n" + header, encoding="utf-8")
        source = Path(directory, "alone.cpp")
        source.write_text("#include <header.hpp>\n", encoding="utf-8")
        command = [*COMPILER, "-std=c++20", "-fsyntax-only", "-I", directory, source]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0


class Headers(unittest.TestCase):
    def test_every_header_is_compiled(self):
        present = sorted(path.relative_to(SOURCE_ROOT).as_posix() for path in Path(SOURCE_ROOT, "kephas").rglob("*.hpp"))
        self.assertEqual(sorted(COMPILED), present, "\nheaders came or went: meson setup --reconfigure")

    def test_a_header_that_needs_another_first_is_found(self):
        self.assertTrue(compiles("#include <string>\nstd::string name();\n"))
        self.assertFalse(compiles("std::string name();\n"))


if __name__ == "__main__":
    split = sys.argv.index("--")
    SOURCE_ROOT, COMPILED, COMPILER = sys.argv[1], sys.argv[2:split], sys.argv[split + 1:]
    unittest.main(argv=sys.argv[:1])
