#!/usr/bin/env python3
"""Starts the examples and uses them as the README says: examples_test.py QUICKSTART EMBED TCP-ECHO TCP-CLIENT UNIX-IPC MONITORING UDP-STATSD."""
import os
import re
import signal
import socket
import stat
import struct
import subprocess
import sys
import tempfile

PATIENCE = 20


class Client:
    """Just enough of RFC 6455, with a mask of zeros."""

    def __init__(self, port):
        self.socket = socket.create_connection(('127.0.0.1', port), PATIENCE)
        self.file = self.socket.makefile('rb')
        self.socket.sendall(b'GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n'
                            b'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n')
        status = self.file.readline()
        assert status.startswith(b'HTTP/1.1 101 '), status
        while self.file.readline() != b'\r\n':
            pass

    def send(self, opcode, payload):
        assert len(payload) < 126
        self.socket.sendall(bytes([0x80 | opcode, 0x80 | len(payload)]) + bytes(4) + payload)

    def command(self, number, payload):
        self.send(2, struct.pack('>I', number) + payload)

    def read(self):
        first, size = self.file.read(2)
        if size == 126:
            size, = struct.unpack('>H', self.file.read(2))
        return first & 0x0F, self.file.read(size)

    def expect(self, opcode, payload):
        got = self.read()
        assert got == (opcode, payload), got

    def expect_command(self, number, payload):
        self.expect(2, struct.pack('>I', number) + payload)


class Program:
    """A server that says where it listens."""

    def __init__(self, *command):
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def __enter__(self):
        signal.alarm(PATIENCE * 2)  # a program that hangs fails the test
        return self

    def ports(self, pattern):
        for line in self.process.stdout:
            found = re.search(pattern, line)
            if found:
                return [int(port) for port in found.groups()]
        raise AssertionError('the program said nothing')

    def stop(self):
        os.kill(self.process.pid, signal.SIGTERM)
        rest = self.process.stdout.read()
        assert self.process.wait(PATIENCE) == 0, rest
        return rest

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def quickstart(path):
    with Program(path) as program:
        port, = program.ports(r'listening on ws://127\.0\.0\.1:(\d+)/ws')
        client = Client(port)
        client.expect_command(1, b'Welcome to the server!')
        client.command(0x0100, b'ada')
        client.expect_command(0x0100, b'Login successful')
        client.command(0x0100, b'')
        opcode, error = client.read()
        assert error.startswith(b'\xff\xff\xff\xfe') and b'"message":"a name, please"' in error, error
        client.send(1, b'{"jsonrpc":"2.0","method":"math.add","params":[1,2.5],"id":7}')
        client.expect(1, b'{"jsonrpc":"2.0","result":3.5,"id":7}')
        client.send(1, b'{"jsonrpc":"2.0","method":"math.add","params":{"a":1},"id":8}')
        opcode, error = client.read()
        assert b'"code":-32602' in error and b'"parameter":"b"' in error, error

        other = Client(port)
        other.expect_command(1, b'Welcome to the server!')
        other.send(8, struct.pack('>H', 1000) + b'bye')
        opcode, left = client.read()
        assert left.startswith(b'\x00\x00\x00\x02') and left.endswith(b' left: bye'), left

        os.kill(program.process.pid, signal.SIGTERM)
        opcode, close = client.read()
        assert (opcode, close[:2]) == (8, struct.pack('>H', 1001)), (opcode, close)
        client.send(8, close[:2])
        client.socket.shutdown(socket.SHUT_WR)
        rest = program.process.stdout.read()
        assert program.process.wait(PATIENCE) == 0, rest
        assert 'Server stopped: ' in rest, rest


def embed(path):
    with Program(path) as program:
        listening, attaching = program.ports(r'listening on 127\.0\.0\.1:(\d+), attaching from 127\.0\.0\.1:(\d+)')
        for port in (listening, attaching):
            client = Client(port)
            client.command(0x0100, b'echo')
            client.expect_command(0x0100, b'echo')
            client.send(8, struct.pack('>H', 1000))
            client.expect(8, struct.pack('>H', 1000))
            client.socket.close()
        rest = program.stop()
        assert 'drained: ' in rest, rest


def tcp(echo, client):
    with Program(echo, 'tcp://127.0.0.1:0') as program:
        port, = program.ports(r'listening on tcp://127\.0\.0\.1:(\d+)')
        done = subprocess.run([client, f'tcp://127.0.0.1:{port}'], capture_output=True, text=True, timeout=PATIENCE)
        assert (done.returncode, done.stdout) == (0, 'Hello, server!\n'), done
        assert 'all have left' in program.stop()
    done = subprocess.run([client, f'tcp://127.0.0.1:{port}'], capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 1 and 'Connection refused' in done.stderr, done


def unix(ipc):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, 'app.sock')
        with Program(ipc, 'unix://' + path) as program:
            assert program.process.stdout.readline() == f'listening on unix://{path}\n'
            assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(PATIENCE)
                client.connect(path)
                client.sendall(b'whoami\nup')
                lines = client.makefile('rb')
                assert lines.readline() == f'process {os.getpid()} of user {os.getuid()}\n'.encode()
                client.sendall(b'time\n')
                assert re.fullmatch(rb'connected for \d+ ms\n', lines.readline())
                client.sendall(b'else\n')
                assert lines.readline() == b'commands are whoami and uptime\n'
                client.shutdown(socket.SHUT_WR)
                assert lines.read() == b''
            program.stop()
        assert not os.path.exists(path)


def monitoring(path):
    with Program(path, 'tcp://127.0.0.1:0', '0.02') as program:
        port, = program.ports(r'listening on tcp://127\.0\.0\.1:(\d+)')
        with socket.create_connection(('127.0.0.1', port), PATIENCE) as client:
            here = '%s:%d' % client.getsockname()
            client.sendall(b'12345')
            assert client.recv(5, socket.MSG_WAITALL) == b'12345'
            program.ports(r'^(1) connections')
            client.shutdown(socket.SHUT_WR)
            assert client.recv(1) == b''
            told = []
            for line in program.process.stdout:
                told.append(line.strip())
                if line.startswith(here + ' has sent'):
                    break
            assert told[-1] == f'{here} has sent 5 bytes and got 5', told
        program.ports(r'^(0) connections')
        rest = program.stop()
        assert 'all have left' in rest and f'not listening on 127.0.0.1:{port} any more' in rest, rest
    states = [line for line in told if ' <- ' in line]
    assert states[-1] == f'127.0.0.1:{port} <- {here}: close connection', states


def statsd(path):
    with Program(path, 'udp://127.0.0.1:0') as program:
        port, = program.ports(r'listening on udp://127\.0\.0\.1:(\d+)')
        where = f'udp://127.0.0.1:{port}'
        for expected in (1, 2):
            done = subprocess.run([path, '--send', 'myapp.requests:1', where], capture_output=True, text=True, timeout=PATIENCE)
            assert (done.returncode, done.stdout) == (0, f'myapp.requests:{expected}\n'), done
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(PATIENCE)
            client.connect(('127.0.0.1', port))
            client.send(b'myapp.requests:1|c')
            client.send(b'other:-20|c')
            client.send(b'nonsense')
            assert client.recv(100) == b'not a counter'
            client.send(b'stats')
            assert client.recv(100) == b'myapp.requests:3\nother:-20\n'
        rest = program.stop()
        assert rest.endswith('myapp.requests:3\nother:-20\n'), rest
    done = subprocess.run([path, '--send', 'myapp.requests:1', where], capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 1 and 'Connection refused' in done.stderr, done


def command_client(path, server):
    with Program(server) as program:
        port, = program.ports(r'listening on ws://127\.0\.0\.1:(\d+)/ws')
        client = subprocess.Popen([path, f'ws://127.0.0.1:{port}/ws'], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            expected = ['now connecting', 'now connected', 'welcome: Welcome to the server!', '1 + 2.5 = 3.5', 'signed in: Login successful']
            said = [client.stdout.readline().strip() for _ in expected]
            assert sorted(said) == sorted(expected) and said[:2] == expected[:2], said
            client.stdin.write('grace\n\n')
            client.stdin.flush()
            assert client.stdout.readline() == 'signed in: Login successful\n'
            assert client.stdout.readline() == 'not signed in: a name, please\n'
            other = Client(port)
            other.expect_command(1, b'Welcome to the server!')
            other.send(8, struct.pack('>H', 1000) + b'so long')
            assert client.stdout.readline().endswith(' left: so long\n')
            client.stdin.close()
            assert client.stdout.read() == 'now closed\nclosed with 1000\n'
            assert client.wait(PATIENCE) == 0
        finally:
            client.kill()
            client.wait()
        program.stop()
    done = subprocess.run([path, f'ws://127.0.0.1:{port}/ws'], capture_output=True, text=True, timeout=PATIENCE, stdin=subprocess.DEVNULL)
    assert done.returncode == 1 and 'Connection refused' in done.stderr, done


def statsd_with_hostile_clients(path):
    with Program(path, 'udp://127.0.0.1:0') as program:
        port, = program.ports(r'listening on udp://127\.0\.0\.1:(\d+)')
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(PATIENCE)
            client.connect(('127.0.0.1', port))
            for _ in range(2):
                client.send(b'large:9223372036854775807|c')
            client.send(b'stats')
            assert client.recv(100) == b'large:9223372036854775807\n'
            client.send(b'n' * 1000 + b':1|c')
            assert client.recv(100) == b'not a counter'
            for i in range(400):  # more than one datagram takes
                client.send(b'%0200d:1|c' % i)
                if i % 20 == 0:
                    client.send(b'nonsense')
                    assert client.recv(100) == b'not a counter'
            client.send(b'stats')
            assert 65000 < len(client.recv(100000)) <= 65507
        program.stop()
    name = f'@kephas-statsd-{os.getpid()}'
    with Program(path, 'unixgram://' + name) as program:
        program.ports('listening on unixgram://')
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as nameless:
            nameless.connect('\0' + name[1:])
            nameless.send(b'nonsense')
            nameless.send(b'known:1|c')
            nameless.send(b'stats')
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as named:
            named.settimeout(PATIENCE)
            named.bind('')
            named.connect('\0' + name[1:])
            named.send(b'stats')
            assert named.recv(100) == b'known:1\n'
        program.stop()


quickstart(sys.argv[1])
embed(sys.argv[2])
tcp(sys.argv[3], sys.argv[4])
unix(sys.argv[5])
monitoring(sys.argv[6])
statsd(sys.argv[7])
command_client(sys.argv[8], sys.argv[1])
statsd_with_hostile_clients(sys.argv[7])
print('the examples do what the README says')
