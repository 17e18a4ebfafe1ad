#!/usr/bin/env python3
"""Runs the cases of cases.py against kephas-echo --raw, each on a connection of its own.

    test/conformance/run.py build/benchmarks/kephas-echo [part of a name]

The last line is "N passed, N failed"; the exit status is 1 if any failed."""

import concurrent.futures
import re
import subprocess
import sys
import threading
import time

import cases
import peer


def start(program):
    server = subprocess.Popen([program, "--raw", "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    line = server.stdout.readline()
    found = re.search(r"listening on .*:(\d+)", line)
    if not found:
        server.kill()
        sys.exit("no port: %r %r" % (line, server.stderr.read()))
    lines = []
    reader = threading.Thread(target=lambda: lines.extend(server.stderr), daemon=True)
    reader.start()
    return server, int(found.group(1)), lines, reader


def run(one, port):
    name, check = one
    began = time.monotonic()
    try:
        with peer.Peer(port) as connection:
            connection.port = port
            check(connection)
        return name, None, time.monotonic() - began
    except (peer.Broken, OSError, UnicodeDecodeError) as error:
        return name, "%s: %s" % (type(error).__name__, error), time.monotonic() - began


def main():
    program = sys.argv[1]
    chosen = [c for c in cases.CASES if len(sys.argv) < 3 or sys.argv[2] in c[0]]
    names = [name for name, _ in chosen]
    doubled = {name for name in names if names.count(name) > 1}
    if doubled:
        sys.exit("two cases have the same name: %s" % sorted(doubled))
    server, port, lines, reader = start(program)
    failed = 0
    slowest = (0.0, "")
    began = time.monotonic()
    try:
        # a few at a time: most of the time goes by in waiting for the other process
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            for name, error, seconds in pool.map(lambda one: run(one, port), chosen):
                slowest = max(slowest, (seconds, name))
                if error:
                    failed += 1
                    print("FAILED  %s\n        %s" % (name, error), flush=True)
        if server.poll() is not None:
            failed += 1
            print("FAILED  the server has ended with %d" % server.returncode)
    finally:
        server.terminate()
        try:
            server.wait(15)
        except subprocess.TimeoutExpired:
            failed += 1
            print("FAILED  the server does not end")
            server.kill()
            server.wait()
    reader.join(5)
    for line in lines[:20]:  # errors and warnings of the server: nothing that a peer does is worth one
        print("log     %s" % line.rstrip())
    print("%.1f s, the slowest: %.1f s %s" % (time.monotonic() - began, *slowest))
    print("%d passed, %d failed" % (len(chosen) - failed, failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
