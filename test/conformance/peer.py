"""A WebSocket client that knows RFC 6455 by itself and breaks it on request. Standard library only."""

import base64
import hashlib
import os
import socket
import struct

CONT, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
NAMES = {CONT: "continuation", TEXT: "text", BINARY: "binary", CLOSE: "close", PING: "ping", PONG: "pong"}
PATIENCE = 20.0  # seconds for whatever is waited for


class Broken(Exception):
    """The server has done something that no server may do."""


def mask(payload, key):
    if not payload:
        return b""
    size = len(payload)
    keys = (key * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "little") ^ int.from_bytes(keys, "little")).to_bytes(size, "little")


def frame(opcode, payload=b"", fin=True, rsv=0, key=b"\x37\xfa\x21\x3d", form=None):
    """One frame. `key` None: not masked. `form` 7, 16 or 64: the form of the length, whatever its size."""
    size = len(payload)
    form = form or (7 if size < 126 else 16 if size < 65536 else 64)
    bit = 0x80 if key is not None else 0
    out = bytes([(0x80 if fin else 0) | rsv << 4 | opcode])
    if form == 7:
        out += bytes([bit | size])
    elif form == 16:
        out += bytes([bit | 126]) + struct.pack("!H", size)
    else:
        out += bytes([bit | 127]) + struct.pack("!Q", size)
    if key is None:
        return out + payload
    return out + key + mask(payload, key)


def close(code=None, reason=b""):
    return frame(CLOSE, b"" if code is None else struct.pack("!H", code) + reason)


def fragments(opcode, pieces):
    """A message whose fragments are `pieces`."""
    out = []
    for i, piece in enumerate(pieces):
        out.append(frame(opcode if i == 0 else CONT, piece, fin=i == len(pieces) - 1))
    return out


def cut(data, size):
    return [data[i:i + size] for i in range(0, len(data), size)]


def show(received):
    opcode, payload = received
    text = repr(payload) if len(payload) <= 40 else "%r... (%d bytes)" % (payload[:30], len(payload))
    return "%s %s" % (NAMES.get(opcode, opcode), text)


class Peer:
    """One connection. Reads what the server sends and is strict about it."""

    def __init__(self, port, handshake=True):
        self.socket = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = bytearray()
        self.ended = False
        if handshake:
            self.handshake()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.socket.close()

    def request(self, key):
        return ("GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                "Sec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n\r\n" % key).encode()

    def handshake(self, behind=b"", step=None):
        """`behind` goes into the same segment; `step`: so many bytes at a time."""
        key = base64.b64encode(os.urandom(16)).decode()
        request = self.request(key) + behind
        for piece in cut(request, step or len(request)):
            self.socket.sendall(piece)
        while b"\r\n\r\n" not in self.buffer:
            if not self.fill():
                raise Broken("the stream ends inside the handshake")
        head, _, rest = bytes(self.buffer).partition(b"\r\n\r\n")
        self.buffer = bytearray(rest)
        accept = base64.b64encode(hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest())
        if not head.startswith(b"HTTP/1.1 101 ") or b"\r\nSec-WebSocket-Accept: " + accept not in head:
            raise Broken("the handshake is answered by %r" % head[:60])

    def send(self, data, step=None):
        try:
            if step is None:
                self.socket.sendall(data)
            else:
                for piece in cut(data, step):
                    self.socket.sendall(piece)
        except (BrokenPipeError, ConnectionResetError):
            pass  # what matters is what the server has sent before

    def fill(self):
        try:
            data = self.socket.recv(1 << 20)
        except ConnectionResetError:
            raise Broken("the connection is reset")
        except (socket.timeout, TimeoutError):
            raise Broken("nothing comes within %g s" % PATIENCE)
        if not data:
            self.ended = True
            return False
        self.buffer += data
        return True

    def silent(self, seconds=0.02):
        """Whether nothing comes for a moment."""
        if self.buffer:
            return False
        self.socket.settimeout(seconds)
        try:
            data = self.socket.recv(1 << 16)
        except (socket.timeout, TimeoutError):
            return True
        finally:
            self.socket.settimeout(PATIENCE)
        self.buffer += data
        return False

    def need(self, size, inside):
        while len(self.buffer) < size:
            if not self.fill():
                if inside or self.buffer:
                    raise Broken("the stream ends inside a frame")
                return False
        return True

    def read(self):
        """The next frame as (opcode, payload); None at the end of the stream."""
        if not self.need(2, False):
            return None
        first, second = self.buffer[0], self.buffer[1]
        if first & 0x70:
            raise Broken("reserved bits in a frame of the server")
        if second & 0x80:
            raise Broken("the server masks")
        if not first & 0x80 or first & 0x0F not in (TEXT, BINARY, CLOSE, PING, PONG):
            raise Broken("first byte %02x of the server" % first)
        size, start = second & 0x7F, 2
        if size == 126:
            self.need(4, True)
            size, start = struct.unpack("!H", self.buffer[2:4])[0], 4
            if size < 126:
                raise Broken("a length that is not minimal")
        elif size == 127:
            self.need(10, True)
            size, start = struct.unpack("!Q", self.buffer[2:10])[0], 10
            if size < 65536:
                raise Broken("a length that is not minimal")
        opcode = first & 0x0F
        if opcode >= 8 and size > 125:
            raise Broken("a control frame of %d bytes" % size)
        self.need(start + size, True)
        payload = bytes(self.buffer[start:start + size])
        del self.buffer[:start + size]
        if opcode == CLOSE and size:
            if size == 1:
                raise Broken("a close frame of one byte")
            payload[2:].decode("utf-8")
        return opcode, payload

    def read_all(self):
        """All frames up to the end of the stream, which has to be orderly and right behind the close frame."""
        received = []
        while True:
            one = self.read()
            if one is None:
                return received
            if received and received[-1][0] == CLOSE:
                raise Broken("%s behind the close frame" % show(one))
            received.append(one)
