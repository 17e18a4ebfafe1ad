"""Streams and datagrams with kephas beside loops that make the same system calls and nothing else.

Throughput of servers and of clients, the CPU time of a server for a round trip, and how many connections one process holds.
The two take turns, a new process each time; ratios are taken within a round.
"""
import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / 'compare'))
import figures  # noqa: E402
import machine  # noqa: E402

# transport: bytes of each write, and what the Go library that these rows follow documents for its own (rows G-056 to G-064 of
# the list of features), on another machine
TRANSPORTS = {
    'tcp': (65_536, {'server': '800 MB/s', 'client': '1,100-1,200 MB/s', 'trip': '< 1 ms'}),
    'tls': (65_536, {'server': '', 'client': '750-800 MB/s', 'trip': '< 2 ms'}),
    'unix': (65_536, {'server': '1,200 MB/s', 'client': '1,700-1,800 MB/s', 'trip': '< 0.5 ms'}),
    'udp': (1_472, {'server': '900 MB/s', 'client': '900 MB/s', 'trip': '< 0.5 ms'}),
    'unixgram': (1_472, {'server': '1,500 MB/s', 'client': '1,500 MB/s', 'trip': '< 0.2 ms'}),
}
# Round trips at once, as many as in the comparison of WebSocket servers; a Unix datagram socket has a queue of ten.
UNDER_WAY = {'tcp': 50, 'tls': 50, 'unix': 50, 'udp': 8, 'unixgram': 8}
BAR_RATE = 0.9
BAR_CPU = 1.15
HELD = (1_000, 5_000, 9_500)


class Place:
    """The programs, the processors that they run on, and a folder for sockets and certificates."""

    def __init__(self, build, folder):
        self.programs = {'kephas': build / 'benchmarks' / 'kephas_sockets', 'bare': build / 'benchmarks' / 'bare_sockets'}
        self.folder = Path(folder)
        self.server_cpu, self.load_cpu = machine.choose_cpus()
        self.sockets = 0

    def make_certificate(self):
        self.certificate = [f'--tls-cert={self.folder}/cert.pem', f'--tls-key={self.folder}/key.pem']
        subprocess.run(['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '1',
                        '-subj', '/CN=localhost', '-addext', 'subjectAltName=IP:127.0.0.1',
                        '-keyout', f'{self.folder}/key.pem', '-out', f'{self.folder}/cert.pem'],
                       check=True, capture_output=True)

    def address(self, transport):
        if not transport.startswith('unix'):
            return f'{transport}://127.0.0.1:0'
        self.sockets += 1
        return f'{transport}://{self.folder}/{self.sockets}.sock'

    def start(self, program, cpu, *arguments, **more):
        return subprocess.Popen([self.programs[program], *arguments], stdout=subprocess.PIPE, text=True,
                                preexec_fn=lambda: os.sched_setaffinity(0, {cpu}), **more)

    def load(self, program, *arguments):
        """What a client has printed."""
        with self.start(program, self.load_cpu, *arguments) as client:
            text, _ = client.communicate(timeout=60)
            if client.returncode != 0:
                raise SystemExit(f'{program} {" ".join(arguments)} ended with {client.returncode}')
        return json.loads(text)


class Server:
    """A server in a process of its own, for as long as the block lasts."""

    def __init__(self, place, program, role, transports):
        arguments = [place.address(each) for each in transports]
        if 'tls' in transports:
            arguments += place.certificate
        self.process = place.start(program, place.server_cpu, role, *arguments)
        self.addresses = {}
        for _ in transports:
            line = self.process.stdout.readline()
            if not line.startswith('listening on '):
                raise SystemExit(f'{program}: the server does not listen: {line}')
            address = line.split()[-1]
            self.addresses[address.split('://')[0]] = address

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def cpu(self):
        return machine.process_cpu_seconds(self.process.pid)

    def resident(self):
        """Bytes of its own, without pages of files."""
        for line in Path(f'/proc/{self.process.pid}/status').read_text().splitlines():
            if line.startswith('RssAnon:'):
                return int(line.split()[1]) * 1024
        raise SystemExit('no RssAnon')


def rate(place, side, program, transport, seconds):
    """Megabytes per second that arrive when `side` is `program` and the other one is bare; microseconds of its CPU for each."""
    server = program if side == 'server' else 'bare'
    client = program if side == 'client' else 'bare'
    size = TRANSPORTS[transport][0]
    trust = place.certificate[:1] if transport == 'tls' else []
    with Server(place, server, 'sink', [transport]) as running:
        at_server, at_client = running.cpu(), children_cpu()
        done = place.load(client, 'send', running.addresses[transport], f'--seconds={seconds}', f'--size={size}', *trust)
        cpu = running.cpu() - at_server if side == 'server' else children_cpu() - at_client
    return done['bytes'] / done['seconds'] / 1e6, cpu / done['bytes'] * 1e12


def children_cpu():
    """Of those that have ended: the server has not."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def ping(place, running, transport, connections, seconds):
    """What the load has printed, and the server's CPU meanwhile, without that for connecting."""
    with place.start('bare', place.load_cpu, 'ping', running.addresses[transport], f'--connections={connections}',
                     f'--seconds={seconds}', stdin=subprocess.PIPE) as client:
        if client.stdout.readline() != 'ready\n':
            raise SystemExit(f'ping {transport}: it is not ready')
        before = running.cpu()
        client.stdin.write('\n')
        client.stdin.flush()
        text = client.stdout.readline()
        return json.loads(text), running.cpu() - before


def trip(place, program, transport, seconds):
    """Microseconds: of the server's CPU for a round trip while several are under way, and of the median one alone."""
    with Server(place, program, 'echo', [transport]) as running:
        done, cpu = ping(place, running, transport, UNDER_WAY[transport], seconds)
        alone, _ = ping(place, running, transport, 1, seconds / 4)
    return cpu / done['round_trips'] * 1e6, alone['p50'] * 1e6


def in_turns(rounds, measure):
    """[(kephas, bare)], in alternating order."""
    pairs = []
    for number in range(rounds):
        order = ('kephas', 'bare') if number % 2 else ('bare', 'kephas')
        found = {each: measure(each) for each in order}
        pairs.append((found['kephas'], found['bare']))
    return pairs


def verdict(ratio, bar, higher):
    if len(ratio.values) < 6:
        return 'open'
    if higher:
        return 'met' if ratio.median >= bar else 'missed' if ratio.high < bar else 'open'
    return figures.verdict(ratio, bar)


def line(what, pairs, bar, higher, unit, documented):
    ratio = figures.Summary.of(ours / bare for ours, bare in pairs)
    ours = figures.median([each for each, _ in pairs])
    bare = figures.median([each for _, each in pairs])
    show = (lambda value: f'{value:,.0f}') if higher else figures.short
    return {'what': what, 'ratio': ratio.median, 'low': ratio.low, 'high': ratio.high, 'bar': bar, 'verdict': verdict(ratio, bar, higher),
            'text': f'| {what} | {ratio.median:.2f} ({ratio.low:.2f}-{ratio.high:.2f}) | {bar} {verdict(ratio, bar, higher)} '
                    f'| {show(ours)} {unit} | {show(bare)} {unit} | {documented} |'}


def plain(what, pairs, documented):
    """Microseconds, without a bar."""
    ratio = figures.Summary.of(ours / bare for ours, bare in pairs)
    ours, bare = (figures.median([pair[i] for pair in pairs]) for i in (0, 1))
    print(f'| {what} | {ratio.median:.2f} ({ratio.low:.2f}-{ratio.high:.2f}) | | {ours:.1f} us | {bare:.1f} us | {documented} |', flush=True)


def held(place, most):
    """Bytes of the server for each connection, from as many TCP and as many Unix connections at once."""
    counts = sorted({min(count, most) for count in (100, *HELD)})
    with Server(place, 'kephas', 'echo', ['tcp', 'unix']) as running:
        clients = [place.start('bare', place.load_cpu, 'hold', running.addresses[each], stdin=subprocess.PIPE) for each in ('tcp', 'unix')]
        points = []
        for count in counts:
            for client in clients:
                client.stdin.write(f'{count}\n')
                client.stdin.flush()
            for client in clients:
                answer = json.loads(client.stdout.readline())
                if answer['answered'] != count:
                    raise SystemExit(f'{count} connections were to be answered: {answer}')
            points.append((2 * count, running.resident()))
        for client in clients:
            client.stdin.close()
            client.wait()
            client.stdout.close()
    return points


def main():
    parser = argparse.ArgumentParser(prog='sockets.sh', description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('build', type=Path, help='the folder of a release build')
    parser.add_argument('-r', '--rounds', type=int, default=15, help='pairs for each row (15)')
    parser.add_argument('-s', '--seconds', type=float, default=1, help='of each run (1)')
    parser.add_argument('--transports', default=','.join(TRANSPORTS), help='some of ' + ','.join(TRANSPORTS))
    parser.add_argument('--rows', default='server,client,trip,held', help='some of server,client,trip,held')
    parser.add_argument('--connections', type=int, default=HELD[-1], help='of each of TCP and Unix for "held" (9,500)')
    parser.add_argument('--json', type=Path, help='a file for the results')
    chosen = parser.parse_args()
    rows = chosen.rows.split(',')
    transports = chosen.transports.split(',')
    results = []

    def show(row):
        results.append(row)
        print(row['text'], flush=True)

    with tempfile.TemporaryDirectory() as folder:
        place = Place(chosen.build, folder)
        if 'tls' in transports:
            if not shutil.which('openssl'):
                print('skipped: there is no openssl to make a certificate with')
                sys.exit(77)
            place.make_certificate()
        print(f'{machine.description()}; {chosen.rounds} rounds of {chosen.seconds:g} s')
        print('\n| | kephas / bare | bar | kephas | bare | documented for the library followed |\n|---|--:|--:|--:|--:|--:|')
        for side in ('server', 'client'):
            for transport in transports if side in rows else []:
                pairs = in_turns(chosen.rounds, lambda program: rate(place, side, program, transport, chosen.seconds))
                size, documented = TRANSPORTS[transport]
                what = f'{side}, {transport}, {size:,} B'
                show(line(what, [(ours[0], bare[0]) for ours, bare in pairs], BAR_RATE, True, 'MB/s', documented[side]))
                plain('its CPU for a megabyte', [(ours[1], bare[1]) for ours, bare in pairs], '')
        for transport in transports if 'trip' in rows else []:
            both = in_turns(chosen.rounds, lambda program: trip(place, program, transport, chosen.seconds))
            show(line(f'server CPU of a round trip, {transport}, {UNDER_WAY[transport]} at once, 64 B', [(ours[0], bare[0]) for ours, bare in both], BAR_CPU, False, 'us', ''))
            plain('its time, alone', [(ours[1], bare[1]) for ours, bare in both], TRANSPORTS[transport][1]['trip'])
        if 'held' in rows:
            points = held(place, chosen.connections)
            print('\nHeld and answered by one process, half over TCP and half over Unix sockets (documented: 10,000 TCP, 1,000 Unix):\n')
            for (few, small), (many, large) in zip(points, points[1:]):
                each = (large - small) / (many - few)
                results.append({'what': 'held', 'connections': many, 'bytes_each': each})
                print(f'- {many:,} connections: {large / 1e6:.1f} MB, {each:,.0f} bytes for each since {few:,}', flush=True)
    if chosen.json:
        chosen.json.write_text(json.dumps(results, default=str, indent=1))
    sys.exit(1 if any(row.get('verdict') == 'missed' for row in results) else 0)


main()
