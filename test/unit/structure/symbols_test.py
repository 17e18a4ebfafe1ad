"""symbols_test.py ARCHIVE... -- COMPILER...: the archives of the pure layers need no socket, clock, thread or randomness."""
import re
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

FORBIDDEN = re.compile(
    r"^(?:"
    r"socket|socketpair|connect|bind|listen|accept4?|shutdown|get(?:addr|name)info|[gs]etsockopt"
    r"|send(?:to|m?msg|file)?|recv(?:from|m?msg)?|readv?|writev?|p?poll|p?select|epoll_\w+|eventfd|timerfd_\w+|io_uring_\w+"
    r"|time|clock|clock_(?:gettime|nanosleep)|gettimeofday|timespec_get|nanosleep|u?sleep"
    r"|pthread_(?:create|join|mutex_\w+|cond_\w+|rwlock_\w+)|sem_\w+"
    r"|s?rand|random|getrandom|getentropy|RAND_\w+"
    r"|std::chrono::.*clock::now\(\)|kephas::clock::now\(\)|std::(?:thread|jthread|mutex|condition_variable|random_device)\b.*"
    r"|std::this_thread::.*|asio::.*"
    r")$")

ARCHIVES, COMPILER = [], []


def undefined(archive):
    """The symbols that members of the archive need, demangled; also those that another member defines."""
    listing = subprocess.run(["nm", "-u", "-C", archive], check=True, capture_output=True, text=True).stdout
    return {match.group(1) for match in re.finditer(r"^\s*[Uvw] (.+)$", listing, re.MULTILINE)}


def forbidden(archive):
    return sorted(symbol for symbol in undefined(archive) if FORBIDDEN.match(symbol))


def forbidden_in(code):
    """What the checker finds in an archive of `code`."""
    with tempfile.TemporaryDirectory() as directory:
        source, object_file, archive = (Path(directory, name) for name in ("a.cpp", "a.o", "a.a"))
        source.write_text(code, encoding="utf-8")
        subprocess.run([*COMPILER, "-std=c++20", "-c", source, "-o", object_file], check=True)
        subprocess.run(["ar", "rc", archive, object_file], check=True)
        return forbidden(archive)


class Checker(unittest.TestCase):
    def test_it_finds_what_is_planted(self):
        found = forbidden_in("""
            #include <chrono>
            #include <ctime>
            #include <mutex>
            #include <random>
            #include <thread>
            #include <sys/epoll.h>
            #include <sys/socket.h>
            int sockets() { return ::socket(1, 1, 0) + ::epoll_create1(0); }
            auto clocks() { return std::chrono::steady_clock::now().time_since_epoch().count() + std::time(nullptr); }
            void locks(std::mutex& m) { std::lock_guard lock{m}; }
            auto randomness() { return std::random_device{}(); }
            void threads() { std::thread{[] {}}.join(); }
            """)
        for symbol in ("socket", "epoll_create1", "std::chrono::_V2::steady_clock::now()", "time", "pthread_mutex_lock",
                       "std::random_device::_M_getval()", "std::thread::join()"):
            self.assertIn(symbol, found)

    def test_it_leaves_the_rest_alone(self):
        self.assertEqual(
            forbidden_in("#include <memory>\n#include <string>\n"
                         "namespace mine { void send(); int time(int); }\n"
                         "auto f() { mine::send(); return std::make_shared<std::string>(std::to_string(mine::time(1))); }\n"),
            [])


class Libraries(unittest.TestCase):
    def test_the_pure_layers_need_no_system(self):
        for archive in ARCHIVES:
            with self.subTest(archive):
                self.assertGreater(len(undefined(archive)), 5)  # nm did read it
                self.assertEqual(forbidden(archive), [])


if __name__ == "__main__":
    split = sys.argv.index("--")
    ARCHIVES, COMPILER = sys.argv[1:split], sys.argv[split + 1:]
    unittest.main(argv=sys.argv[:1])
