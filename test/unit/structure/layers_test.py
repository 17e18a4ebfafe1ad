"""layers_test.py SOURCE_ROOT: the tree keeps the layers, and the checker finds what is planted."""
import sys
import tempfile
import unittest
from pathlib import Path

import layers

SOURCE_ROOT = None


def problems_of(path, text):
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory, "kephas", path)
        file.parent.mkdir(parents=True)
        file.write_text(text, encoding="utf-8")
        return layers.check_tree(directory)[1]


class Checker(unittest.TestCase):
    def assert_found(self, path, text, part):
        if path.endswith(".hpp"):
            text = "#pragma once\n" + text
        found = problems_of(path, text)
        self.assertEqual(len(found), 1, found)
        self.assertIn(part, found[0])

    def assert_clean(self, path, text):
        if path.endswith(".hpp"):
            text = "#pragma once\n" + text
        self.assertEqual(problems_of(path, text), [])

    def test_layers_include_only_what_is_below_them(self):
        self.assert_found("base/a.hpp", "#include <kephas/proto/command/frame.hpp>\n", "base must not include proto")
        self.assert_found("proto/http/a.cpp", "#include <kephas/net/transport.hpp>\n", "proto must not include net")
        self.assert_found("net/a.cpp", "  #  include <kephas/proto/http/request.hpp>\n", "net must not include proto")
        self.assert_found("client/a.hpp", "#include <kephas/server/server.hpp>\n", "client must not include server")
        self.assert_clean("server/a.hpp", "#include <kephas/proto/http/request.hpp>\n#include <kephas/net/acceptor.hpp>\n")

    def test_pure_layers_see_no_asio_sockets_threads_or_clocks(self):
        self.assert_found("proto/http/a.cpp", "#include <asio/buffer.hpp>\n", "Asio")
        self.assert_found("base/a.cpp", "#include <asio.hpp>\n", "Asio")
        for name in ("thread", "mutex", "condition_variable", "ctime", "sys/socket.h", "unistd.h", "time.h"):
            self.assert_found("proto/http/a.cpp", f"#include <{name}>\n", f"<{name}>")
            self.assert_clean("net/a.cpp", f"#include <{name}>\n")
        self.assert_found("proto/session/a.cpp", "auto n = clock::now();\n", "clock")
        self.assert_found("base/a.hpp", "auto n = std::chrono::system_clock::now();\n", "clock")
        self.assert_found("base/a.cpp", "std::random_device device;\n", "randomness")
        self.assert_clean("server/a.cpp", "auto n = clock::now();\n")

    def test_comments_and_strings_are_not_code(self):
        self.assert_clean("proto/session/a.cpp", '// clock::now()\n/* clock::now() */ auto s = "clock::now()";\n')

    def test_third_party_headers_stay_in_sources(self):
        self.assert_found("server/a.hpp", "#include <openssl/ssl.h>\n", "third-party")
        self.assert_found("proto/json/a.hpp", "#include <rapidjson/reader.h>\n", "third-party")
        self.assert_found("base/a.hpp", "#include <fmt/format.h>\n", "third-party")
        self.assert_clean("base/logger.hpp", "#include <fmt/format.h>\n")
        self.assert_clean("net/a.hpp", "#include <asio/ip/tcp.hpp>\n#include <sys/socket.h>\n")
        self.assert_clean("proto/json/a.cpp", "#include <rapidjson/reader.h>\n")

    def test_some_third_party_headers_are_banned_everywhere(self):
        self.assert_found("proto/json/a.cpp", "#include <rapidjson/document.h>\n", "not to be used")
        self.assert_found("proto/http/a.cpp", "#include <websocketpp/config/core.hpp>\n", "not to be used")

    def test_habits_of_headers(self):
        self.assertEqual(len(problems_of("base/a.hpp", "int a();\n")), 1)
        self.assert_found("base/a.hpp", "#define A 1\n", "macro")
        self.assert_found("base/a.hpp", "using namespace std;\n", "using namespace")
        self.assert_found("base/a.hpp", '#include "b.hpp"\n', "quotes")
        self.assert_found("kephas.hpp", "int a();\n", "includes only")
        self.assert_clean("kephas.hpp", "#include <kephas/server/server.hpp>\n")
        self.assert_found("misc/a.hpp", "", "not a layer")


class Tree(unittest.TestCase):
    def test_the_tree_keeps_the_layers(self):
        files, problems = layers.check_tree(SOURCE_ROOT)
        self.assertGreater(len(files), 10)
        self.assertEqual(problems, [], "\n" + "\n".join(problems))


if __name__ == "__main__":
    SOURCE_ROOT = sys.argv.pop(1)
    unittest.main()
