"""The cases, by the sections of RFC 6455. Each one is (name, function of a Peer that raises when the answer is wrong)."""

import socket
import struct

from peer import BINARY, CLOSE, CONT, PING, PONG, TEXT, Broken, Peer, close, cut, fragments, frame, show

CASES = []


def case(name, run):
    CASES.append((name, run))


# ---- what a case consists of

def expect(found, wanted):
    for i in range(max(len(found), len(wanted))):
        got = show(found[i]) if i < len(found) else "the end of the stream"
        want = show(wanted[i]) if i < len(wanted) else "the end of the stream"
        if i >= len(found) or i >= len(wanted) or found[i] != wanted[i]:
            raise Broken("frame %d is %s, expected %s" % (i + 1, got, want))


def close_of(received):
    """The code of the close frame that has to be the last one, and the frames before it."""
    if not received or received[-1][0] != CLOSE:
        raise Broken("no close frame; the last one is %s" % (show(received[-1]) if received else "none"))
    payload = received[-1][1]
    return (struct.unpack("!H", payload[:2])[0] if payload else None), received[:-1]


def ends(peer, wanted, code):
    """Reads to the end: exactly the frames `wanted`, a close frame with `code`, an orderly end of the stream."""
    found, before = close_of(peer.read_all())
    expect(before, wanted)
    if found != code:
        raise Broken("closed with %s, expected %s" % (found, code))


def echo(name, data, wanted, step=None):
    """The connection stays well: what is wanted comes back, and our close is answered."""

    def run(peer):
        peer.send(data + close(1000), step)
        ends(peer, wanted, 1000)

    case(name, run)


def refused(name, data, code, before=(), step=None, behind=b""):
    """The server closes with `code`, after the frames that were due before."""

    def run(peer):
        peer.send(data + behind, step)
        ends(peer, list(before), code)

    case(name, run)


def in_steps(add, name, *arguments, **more):
    """The same bytes whole, one at a time, and in pieces that fit no frame."""
    add(name, *arguments, **more)
    add(name + ", byte by byte", *arguments, step=1, **more)
    add(name + ", in threes", *arguments, step=3, **more)


def pattern(size, start=0):
    """`size` bytes of text, each place telling where it was."""
    block = bytes(0x20 + (start + i * 7) % 95 for i in range(95))
    return (block * (size // 95 + 1))[:size]


# ---- 5.2 framing: the three forms of the length

for opcode, kind in ((TEXT, "text"), (BINARY, "binary")):
    for size in (0, 1, 2, 125, 126, 127, 128, 255, 256, 65535, 65536, 65537):
        payload = pattern(size, size)
        echo("5.2 %s of %d bytes" % (kind, size), frame(opcode, payload), [(opcode, payload)])
        if size <= 256:
            echo("5.2 %s of %d bytes, byte by byte" % (kind, size), frame(opcode, payload), [(opcode, payload)], step=1)
        else:
            for step in (997, 4096):
                echo("5.2 %s of %d bytes in pieces of %d" % (kind, size, step), frame(opcode, payload),
                     [(opcode, payload)], step=step)
echo("5.2 every byte value", frame(BINARY, bytes(range(256)) * 3), [(BINARY, bytes(range(256)) * 3)])
for key in (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x80\0\x7f\x01"):
    echo("5.3 masked with %s" % key.hex(), frame(TEXT, pattern(1000), key=key), [(TEXT, pattern(1000))], step=61)
for size, form in ((0, 16), (125, 16), (0, 64), (125, 64), (126, 64), (65535, 64)):
    refused("5.2 a length of %d in %d bits" % (size, form), frame(BINARY, pattern(size), form=form), 1002)
    refused("5.2 a length of %d in %d bits behind a message" % (size, form),
            frame(TEXT, b"before") + frame(BINARY, pattern(size), form=form), 1002, [(TEXT, b"before")], step=1)
for length in (1 << 63, (1 << 64) - 1):
    refused("5.2 a length of %#x" % length, b"\x82\xff" + struct.pack("!Q", length) + b"abcd", 1002)
for length in (1 << 62, 1 << 32, 64 << 20):
    refused("5.2 a length of %d, beyond the limit" % length, b"\x82\xff" + struct.pack("!Q", length) + b"abcd", 1009)
    refused("5.2 a text of %d, beyond the limit, behind a message" % length,
            frame(TEXT, b"before") + b"\x81\xff" + struct.pack("!Q", length) + b"abcd", 1009, [(TEXT, b"before")])

# ---- 5.1 masking

for opcode in (TEXT, BINARY, PING, PONG, CLOSE):
    for payload in (b"", b"\x03\xe8hello"):
        refused("5.1 an unmasked frame, opcode %d, %d bytes" % (opcode, len(payload)), frame(opcode, payload, key=None), 1002)
    refused("5.1 an unmasked frame, opcode %d, behind a message" % opcode,
            frame(BINARY, b"before") + frame(opcode, b"", key=None), 1002, [(BINARY, b"before")])
refused("5.1 an unmasked fragment", frame(TEXT, b"a", fin=False) + frame(CONT, b"b", key=None), 1002)

# ---- 5.5.2, 5.5.3 pings and pongs

for size in (0, 1, 2, 7, 63, 64, 124, 125):
    payload = bytes(range(256))[-size:] if size else b""
    echo("5.5.2 a ping of %d bytes" % size, frame(PING, payload), [(PONG, payload)])
    echo("5.5.2 a ping of %d bytes, byte by byte" % size, frame(PING, payload), [(PONG, payload)], step=1)
echo("5.5.2 pings of every size, all at once", b"".join(frame(PING, pattern(i)) for i in range(126)),
     [(PONG, pattern(i)) for i in range(126)])
echo("5.5.2 ten pings in pieces", b"".join(frame(PING, b"ping %d" % i) for i in range(10)),
     [(PONG, b"ping %d" % i) for i in range(10)], step=5)
echo("5.5.2 a thousand pings between messages",
     b"".join(frame(PING, b"%d" % i) + (frame(TEXT, b"%d" % i) if i % 10 == 0 else b"") for i in range(1000)),
     None)  # replaced below: pongs may overtake messages
for size in (126, 127, 65536):
    refused("5.5 a ping of %d bytes" % size, frame(PING, pattern(size)), 1002)
    refused("5.5 a pong of %d bytes" % size, frame(PONG, pattern(size)), 1002)
    refused("5.5 a close frame of %d bytes" % size, frame(CLOSE, struct.pack("!H", 1000) + pattern(size - 2)), 1002)
for opcode in (PING, PONG, CLOSE):
    in_steps(refused, "5.5 a fragmented control frame, opcode %d" % opcode, frame(opcode, b"", fin=False), 1002,
             behind=frame(CONT, b""))
    refused("5.5 a fragmented control frame, opcode %d, inside a message" % opcode,
            frame(TEXT, b"a", fin=False) + frame(opcode, b"", fin=False), 1002)
for payload in (b"", b"unsolicited", pattern(125)):
    echo("5.5.3 a pong that nobody asked for, %d bytes" % len(payload), frame(PONG, payload), [])
    echo("5.5.3 a pong of %d bytes and a ping" % len(payload), frame(PONG, payload) + frame(PING, b"x"), [(PONG, b"x")], step=1)


def pongs_between_messages(peer):
    peer.send(b"".join(frame(PING, b"%d" % i) + (frame(TEXT, b"%d" % i) if i % 10 == 0 else b"") for i in range(1000))
              + close(1000))
    code, found = close_of(peer.read_all())
    if code != 1000:
        raise Broken("closed with %s" % code)
    expect([f for f in found if f[0] == PONG], [(PONG, b"%d" % i) for i in range(1000)])
    expect([f for f in found if f[0] == TEXT], [(TEXT, b"%d" % i) for i in range(0, 1000, 10)])


CASES[:] = [c for c in CASES if "a thousand pings" not in c[0]]
case("5.5.2 a thousand pings between messages", pongs_between_messages)

# ---- 5.2 reserved bits and opcodes: what came before is answered

for rsv in range(1, 8):
    for opcode in (TEXT, BINARY, PING, PONG, CLOSE):
        refused("5.2 reserved bits %d, opcode %d" % (rsv, opcode), frame(opcode, b"", rsv=rsv), 1002)
    bad = frame(TEXT, b"bad", rsv=rsv)
    in_steps(refused, "5.2 reserved bits %d behind a message" % rsv, frame(TEXT, b"before") + bad, 1002, [(TEXT, b"before")],
             behind=frame(PING, b"after"))
    refused("5.2 reserved bits %d on a fragment" % rsv, frame(TEXT, b"a", fin=False) + frame(CONT, b"b", rsv=rsv), 1002)
for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15):
    for payload in (b"", pattern(100)):
        refused("5.2 reserved opcode %d, %d bytes" % (opcode, len(payload)), frame(opcode, payload), 1002)
    in_steps(refused, "5.2 reserved opcode %d behind a message" % opcode, frame(TEXT, b"before") + frame(opcode, b"x"), 1002,
             [(TEXT, b"before")], behind=frame(PING, b"after"))
    refused("5.2 reserved opcode %d inside a message" % opcode, frame(TEXT, b"a", fin=False) + frame(opcode, b""), 1002)

# ---- 5.4 fragmentation

for opcode, kind in ((TEXT, "text"), (BINARY, "binary")):
    for pieces in ([b"one", b"two"], [b"", b""], [b"", b"x"], [b"x", b""], [b"", b"", b"x", b"", b""], list(cut(pattern(300), 7)),
                   [pattern(70000), b"", pattern(200)]):
        whole = b"".join(pieces)
        sizes = "+".join(str(len(piece)) for piece in pieces) if len(pieces) < 10 else "%d times 7" % len(pieces)
        title = "5.4 %s in fragments of %s" % (kind, sizes)
        echo(title, b"".join(fragments(opcode, pieces)), [(opcode, whole)])
        if len(whole) < 1000:
            echo(title + ", byte by byte", b"".join(fragments(opcode, pieces)), [(opcode, whole)], step=1)
        with_pings = b"".join(part + frame(PING, b"%d" % i) for i, part in enumerate(fragments(opcode, pieces)[:-1]))
        pongs = [(PONG, b"%d" % i) for i in range(len(pieces) - 1)]
        echo(title + ", a ping behind each", with_pings + fragments(opcode, pieces)[-1], pongs + [(opcode, whole)])
        echo(title + ", a pong behind each", b"".join(p + frame(PONG, b"x") for p in fragments(opcode, pieces)[:-1])
             + fragments(opcode, pieces)[-1], [(opcode, whole)])
for fin in (True, False):
    for payload in (b"", b"nothing to continue"):
        in_steps(refused, "5.4 a continuation without a message, fin %d, %d bytes" % (fin, len(payload)),
                 frame(CONT, payload, fin=fin), 1002, behind=frame(TEXT, b"after"))
        refused("5.4 a continuation behind a whole message, fin %d, %d bytes" % (fin, len(payload)),
                frame(TEXT, b"before") + frame(CONT, payload, fin=fin), 1002, [(TEXT, b"before")])
        refused("5.4 a continuation behind a fragmented message, fin %d, %d bytes" % (fin, len(payload)),
                b"".join(fragments(TEXT, [b"be", b"fore"])) + frame(CONT, payload, fin=fin), 1002, [(TEXT, b"before")])
for opcode in (TEXT, BINARY):
    for fin in (True, False):
        in_steps(refused, "5.4 opcode %d, fin %d, inside a message" % (opcode, fin),
                 frame(TEXT, b"unfinished", fin=False) + frame(opcode, b"x", fin=fin), 1002)
        refused("5.4 opcode %d, fin %d, inside a message, behind a ping" % (opcode, fin),
                frame(BINARY, b"unfinished", fin=False) + frame(PING, b"p") + frame(opcode, b"x", fin=fin), 1002, [(PONG, b"p")])
echo("5.4 fragmented messages back to back", b"".join(b"".join(fragments(TEXT, [b"%d" % i, b"a", b"b"])) for i in range(50)),
     [(TEXT, b"%dab" % i) for i in range(50)])
echo("5.4 messages of both kinds, whole and fragmented",
     frame(TEXT, b"1") + b"".join(fragments(BINARY, [b"2", b"\xff"])) + frame(BINARY, b"\xfe") + b"".join(fragments(TEXT, [b"4", b""])),
     [(TEXT, b"1"), (BINARY, b"2\xff"), (BINARY, b"\xfe"), (TEXT, b"4")], step=4)

# ---- 8.1 UTF-8

VALID = [chr(c).encode() for c in (
    0x00, 0x7F, 0x80, 0x7FF, 0x800, 0xFFF, 0x1000, 0xCFFF, 0xD000, 0xD7FF, 0xE000, 0xFFFD, 0xFFFE, 0xFFFF, 0xFEFF, 0xFDD0, 0xFDEF,
    0x10000, 0x1FFFE, 0x1FFFF, 0x2FFFE, 0x3FFFF, 0x4FFFF, 0x5FFFE, 0x8FFFF, 0xEFFFE, 0x40000, 0xFFFFF, 0x100000, 0x10FFFD,
    0x10FFFE, 0x10FFFF, 0x200B, 0x2028, 0xAD)]
VALID += ["Hello-µ@ßöäüàá-UTF-8!!".encode(), "κόσμε".encode(), "\u65e5\u672c\u8a9e".encode(), "e\u0301 \U0001f600\U0001f468\u200d\U0001f469".encode(),
          "\u0448\u0447\u0443\u043a\u0430".encode() * 40]
for value in VALID:
    name = "8.1 valid text %s" % (value.hex() if len(value) <= 8 else "of %d bytes" % len(value))
    echo(name, frame(TEXT, b"<" + value + b">"), [(TEXT, b"<" + value + b">")])
    pieces = [value[i:i + 1] for i in range(len(value))]
    echo(name + ", a fragment for each byte", b"".join(fragments(TEXT, pieces)), [(TEXT, value)])
    if len(value) <= 64:
        echo(name + ", byte by byte", frame(TEXT, value), [(TEXT, value)], step=1)

INVALID = [bytes.fromhex(h) for h in (
    "80 bf 8080 80bf 808080 c0 c1 c080 c1bf e08080 e09fbf f0808080 f08fbfbf f8888080 f888808080 fc8480808080 fe ff fffe feff fefeffff "
    "eda080 edadbf edae80 edafbf edb080 edbe80 edbfbf eda080edb080 edafbfedbfbf "
    "f4908080 f5808080 f7bfbfbf fbbfbfbfbf fdbfbfbfbfbf "
    "c220 c2c2 df41 e0a020 e0a0c0 e1ff80 e180ff ef8041 f09020 f0908020 f090ff80 f1808041 f4808041 "
    "c380c3 e28282ac80 616263ff f0288cbc cebae1bdb9cf83cebcceb5eda080656469746564 cebae1bdb9cf83cebcceb5f4908080656469746564").split()]
TRUNCATED = [bytes.fromhex(h) for h in "c2 df e0 e0a0 ef efbf f0 f090 f09080 f4 f48f f48fbf f3 f3bfbf e1 e180 cebacf".split()]


def first_bad(value):
    """How many bytes are needed to know that this can never be text, by the table of RFC 3629 section 4."""
    left = []  # the ranges of the bytes that have to follow
    for i, byte in enumerate(value):
        if left:
            low, high = left.pop(0)
            if not low <= byte <= high:
                return i + 1
        elif byte >= 0x80:
            second = {0xE0: (0xA0, 0xBF), 0xED: (0x80, 0x9F), 0xF0: (0x90, 0xBF), 0xF4: (0x80, 0x8F)}.get(byte, (0x80, 0xBF))
            more = 1 if 0xC2 <= byte <= 0xDF else 2 if 0xE0 <= byte <= 0xEF else 3 if 0xF0 <= byte <= 0xF4 else None
            if more is None:
                return i + 1
            left = [second] + [(0x80, 0xBF)] * (more - 1)
    raise AssertionError("valid")


def fails_fast(name, value, prefix):
    whole = prefix + value + b" and more of it"
    bad = first_bad(whole)
    wire = frame(TEXT, whole)
    head = len(wire) - len(whole)

    def within_a_frame(peer):
        peer.send(wire[:head + bad - 1])
        if not peer.silent():
            raise Broken("an answer before anything is wrong: %s" % show(peer.read() or (CLOSE, b"")))
        peer.send(wire[head + bad - 1:head + bad])
        ends(peer, [], 1007)

    def within_a_fragment(peer):
        peer.send(frame(TEXT, whole[:bad - 1], fin=False) + frame(PING, b"well?"))
        expect([peer.read()], [(PONG, b"well?")])
        peer.send(frame(CONT, whole[bad - 1:bad], fin=False))  # the message is not over
        ends(peer, [], 1007)

    case(name + ", at its first bad byte", within_a_frame)
    case(name + ", at its first bad fragment", within_a_fragment)


for value in INVALID:
    name = "8.1 invalid text %s" % value.hex()
    refused(name, frame(TEXT, b"before") + frame(TEXT, b"<" + value + b">"), 1007, [(TEXT, b"before")])
    refused(name + ", a fragment for each byte", b"".join(fragments(TEXT, [value[i:i + 1] for i in range(len(value))])), 1007)
    fails_fast(name, value, "\u00b5<".encode())
for value in TRUNCATED:
    name = "8.1 text that ends inside a character, %s" % value.hex()
    refused(name, frame(TEXT, b"before") + frame(TEXT, value), 1007, [(TEXT, b"before")])
    refused(name + ", byte by byte", frame(TEXT, value), 1007, step=1)
    refused(name + ", fragmented", b"".join(fragments(TEXT, [value, b""])), 1007)
    refused(name + ", in front of another character", frame(TEXT, value + b"x"), 1007)
for value in INVALID[:20]:
    echo("8.1 binary %s is not looked at" % value.hex(), frame(BINARY, value), [(BINARY, value)])
echo("8.1 a long text cut inside its characters", b"".join(fragments(TEXT, cut("\u20ac".encode() * 3000, 7))),
     [(TEXT, "\u20ac".encode() * 3000)], step=1000)

# ---- 5.5.1, 7.4 closing

for code in (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3008, 3999, 4000, 4999):
    for reason in (b"", b"because"):
        def answered(peer, code=code, reason=reason):
            peer.send(frame(TEXT, b"before") + close(code, reason))
            ends(peer, [(TEXT, b"before")], code)

        case("7.4 close code %d%s is answered" % (code, " with a reason" if reason else ""), answered)
for code in (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 1999, 2000, 2999, 5000, 9999, 65535):
    for reason in (b"", b"because"):
        refused("7.4 close code %d%s" % (code, " with a reason" if reason else ""), frame(TEXT, b"before") + close(code, reason),
                1002, [(TEXT, b"before")])


def without_code(peer):
    peer.send(frame(TEXT, b"before") + close())
    ends(peer, [(TEXT, b"before")], None)


case("5.5.1 a close frame without a code is answered by one without", without_code)
refused("5.5.1 a close frame of one byte", frame(CLOSE, b"\x03"), 1002)
for reason in (b"x" * 123, "\u00e9".encode() * 61 + b"x", b"\0"):
    def with_reason(peer, reason=reason):
        peer.send(close(1000, reason))
        ends(peer, [], 1000)

    case("5.5.1 a reason of %d bytes, %s..." % (len(reason), reason[:2].hex()), with_reason)
for reason in INVALID[:12] + TRUNCATED[:6]:
    refused("5.5.1 a reason that is not text, %s" % reason.hex(), close(1000, reason), 1007)


def behind_the_close(name, data):
    def run(peer):
        peer.send(frame(TEXT, b"before") + close(1000) + data)
        ends(peer, [(TEXT, b"before")], 1000)

    case("5.5.1 behind the close frame: " + name, run)


behind_the_close("a message", frame(TEXT, b"after"))
behind_the_close("a ping", frame(PING, b"after"))
behind_the_close("another close frame", close(1001))
behind_the_close("no frame at all", b"\xff\xff\xff\xff\xff" * 20)
behind_the_close("200,000 bytes", frame(BINARY, pattern(200000)))
behind_the_close("an invalid text", frame(TEXT, b"\xff"))


def inside_a_message(peer):
    peer.send(frame(TEXT, b"unfinished", fin=False) + close(1000) + frame(CONT, b"rest"))
    ends(peer, [], 1000)


case("5.5.1 a close frame inside a message", inside_a_message)


def large_before_close(peer):
    payload = pattern(256 * 1024)
    peer.send(frame(TEXT, payload) + close(1000) + frame(PING, b"after"))
    ends(peer, [(TEXT, payload)], 1000)


case("5.5.1 256 KiB right before the close frame come back", large_before_close)


def many_before_close(peer):
    peer.send(b"".join(frame(BINARY, b"%d" % i) for i in range(2000)) + close(4000, b"done"))
    ends(peer, [(BINARY, b"%d" % i) for i in range(2000)], 4000)


case("5.5.1 2,000 messages right before the close frame come back", many_before_close)


def close_and_half_close(peer):
    peer.send(frame(TEXT, b"before") + close(1000))
    peer.socket.shutdown(1)
    ends(peer, [(TEXT, b"before")], 1000)


case("7.1.1 a close frame, and the end of our side at once", close_and_half_close)


def large_and_half_close(peer):
    payloads = [pattern(4 << 20, i) for i in range(4)]
    peer.send(b"".join(frame(BINARY, p) for p in payloads[:1]))
    peer.send(close(1000))
    peer.socket.shutdown(1)
    ends(peer, [(BINARY, payloads[0])], 1000)


case("7.1.1 4 MiB, a close frame, and the end of our side at once", large_and_half_close)


def bytes_behind_a_violation(peer):
    peer.send(frame(TEXT, b"before") + frame(3, b"") + frame(BINARY, pattern(300000)))
    ends(peer, [(TEXT, b"before")], 1002)


case("7.1.7 300,000 bytes behind a violation do not cost us the close frame", bytes_behind_a_violation)


def message_behind_violation(peer):
    peer.send(frame(TEXT, b"before") + frame(TEXT, b"\xff") + frame(TEXT, b"after") + close(1000))
    ends(peer, [(TEXT, b"before")], 1007)


case("7.1.7 nothing behind a violation is answered", message_behind_violation)

# ---- large messages and many of them


def round_trip(name, opcode, payload, pieces=None, step=None):
    """One message, in fragments where `pieces` has them, and its echo."""

    def run(peer):
        data = frame(opcode, payload) if pieces is None else pieces(opcode, payload)
        peer.send(data, step)
        expect([peer.read()], [(opcode, payload)])
        peer.send(close(1000))
        ends(peer, [], 1000)

    case(name, run)


def periodic(size, period):
    return (pattern(period) * (size // period + 1))[:size]


def fragmented(of):
    def build(opcode, payload):
        count = len(payload) // of
        part = payload[:of]
        assert part * count == payload  # so that all fragments are the same bytes, and quickly made
        return frame(opcode, part, fin=False) + frame(CONT, part, fin=False) * (count - 2) + frame(CONT, part)

    return build


MIB = 1 << 20
for opcode, kind in ((TEXT, "text"), (BINARY, "binary")):
    for size in (64 << 10, 256 << 10, MIB, 4 * MIB, 8 * MIB, 16 * MIB):
        round_trip("9 a %s of %d KiB" % (kind, size >> 10), opcode, periodic(size, 95))
    for of in (64, 256, 1024, 4096, 16 << 10, 64 << 10, 256 << 10, MIB):
        round_trip("9 a %s of 4 MiB in fragments of %d" % (kind, of), opcode, periodic(4 * MIB, of), fragmented(of))
    for step in (64, 128, 256, 512, 1024, 2048):
        round_trip("9 a %s of 1 MiB in pieces of %d" % (kind, step), opcode, periodic(MIB, 95), step=step)
round_trip("9 a text of 16 MiB in 262,144 fragments", TEXT, periodic(16 * MIB, 64), fragmented(64))
round_trip("9 a text of 4 MiB of characters of three bytes", TEXT, "\u20ac".encode() * (4 * MIB // 3))


def many_messages(name, opcode, size, count):
    def run(peer):
        payload = pattern(size)
        data = frame(opcode, payload)
        for _ in range(count):
            peer.send(data)
            expect([peer.read()], [(opcode, payload)])
        peer.send(close(1000))
        ends(peer, [], 1000)

    case(name, run)


for opcode, kind in ((TEXT, "text"), (BINARY, "binary")):
    for size in (0, 16, 125, 1024, 16384, 65536):
        many_messages("9 500 %s messages of %d bytes, one after the other" % (kind, size), opcode, size, 500)
echo("9 3,000 messages at once", b"".join(frame(TEXT, b"%d" % i) for i in range(3000)), [(TEXT, b"%d" % i) for i in range(3000)])
round_trip("10 65,536 bytes in fragments of 1,300", TEXT, pattern(65536),
           lambda opcode, payload: b"".join(fragments(opcode, cut(payload, 1300))))

# ---- the opening handshake, as far as it concerns frames


def behind_the_handshake(peer):
    with Peer(peer.port, handshake=False) as other:
        other.handshake(behind=frame(TEXT, b"early") + frame(PING, b"p") + close(1000))
        code, found = close_of(other.read_all())
        expect(sorted(found), sorted([(TEXT, b"early"), (PONG, b"p")]))
        if code != 1000:
            raise Broken("closed with %s" % code)
    peer.send(close(1000))
    ends(peer, [], 1000)


case("4.1 frames in the same segment as the handshake", behind_the_handshake)


def handshake_in_bytes(peer):
    with Peer(peer.port, handshake=False) as other:
        other.handshake(behind=frame(TEXT, b"early") + close(1001), step=1)
        ends(other, [(TEXT, b"early")], 1001)
    peer.send(close(1000))
    ends(peer, [], 1000)


case("4.1 a handshake byte by byte", handshake_in_bytes)


def leaves(name, how):
    """The peer goes in a way that no answer can reach; the next one must not notice."""

    def run(peer):
        how(peer)
        peer.socket.close()
        with Peer(peer.port) as other:
            other.send(frame(TEXT, b"next") + close(1000))
            ends(other, [(TEXT, b"next")], 1000)

    case("7.1.1 the peer leaves " + name, run)


def reset(peer):
    peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


leaves("without a close frame", lambda peer: None)
leaves("with a reset", reset)
leaves("in the middle of a frame", lambda peer: peer.send(frame(BINARY, pattern(1000))[:500]))
leaves("in the middle of a message", lambda peer: peer.send(frame(TEXT, b"unfinished", fin=False)))
leaves("right behind its close frame", lambda peer: peer.send(close(1000)))
leaves("with 8 MiB unread", lambda peer: peer.send(frame(BINARY, pattern(8 * MIB))))
