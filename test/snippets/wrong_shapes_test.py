#!/usr/bin/env python3
"""Handlers of the wrong shape are compile errors that say what a handler looks like: wrong_shapes_test.py SOURCE COMPILER..."""
import subprocess
import sys

EXPECTED = [
    'a handler takes a kephas::request',
    'a handler looks like [](kephas::request) -> asio::awaitable<std::optional<kephas::payload>>',
    'the handler of a JSON-RPC method looks like [](kephas::rpc_request) -> asio::awaitable<kephas::json>',
    'a typed JSON-RPC handler looks like [](double a, double b) -> asio::awaitable<double>',
    'on_connect looks like [](kephas::client) -> asio::awaitable<void>',
    'on_disconnect looks like [](kephas::client, kephas::close_info) -> asio::awaitable<void>',
    'authorize looks like [](kephas::http::request) -> asio::awaitable<kephas::authorization>',
    'middleware looks like [](kephas::request, kephas::next_handler next) -> asio::awaitable<void>',
    'std::span<const std::byte>',  # a payload is not made from a view
    "'on'",      # routes that are frozen have no such member
]

source, *compiler = sys.argv[1:]
done = subprocess.run([*compiler, '-fsyntax-only', '-ferror-limit=0' if 'clang' in ' '.join(compiler) else '-fmax-errors=0', source],
                      capture_output=True, text=True, env={'LC_ALL': 'C', 'PATH': '/usr/bin:/bin'})
output = done.stderr.replace('\u2018', "'").replace('\u2019', "'")
missing = [sentence for sentence in EXPECTED if sentence not in output]
if done.returncode == 0 or missing:
    print(output[-4000:])
    print('not said:', *missing, sep='\n  ')
    sys.exit(1)
print(f'{len(EXPECTED)} mistakes are explained')
