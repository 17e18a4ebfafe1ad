"""The work that servers are measured at, and how much of it kephas may cost at most."""
from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class Bar:
    """A ratio to the bare loop that has to be kept, and one that would be fine."""
    limit: float
    goal: float | None = None


@dataclass(frozen=True)
class Row:
    name: str
    title: str
    load: tuple  # arguments of kephas-bench
    figure: str = 'cpu_us'  # what is compared with the bare loop's
    unit: str = 'message'  # what is counted
    tls: bool = False
    check: int = 2000  # messages that are verified beforehand
    bars: dict = field(default_factory=dict)  # of a server's name
    reference: str = 'bare_loop'  # the program
    kephas: tuple = ()  # arguments of kephas-echo
    answers: tuple = ()  # more arguments of kephas-bench: what servers have to answer
    echoes: tuple = ()  # the same for the bare loop
    only_kephas: bool = False  # no peer does this work

    @property
    def what(self):
        return 'latency, p50' if self.figure == 'p50_us' else f'server CPU per {self.unit}'

    @property
    def connections(self):
        return int(self.load[self.load.index('--connections') + 1])

    @property
    def any_order(self):
        """Whether replies may overtake each other at all."""
        return '--reconnect' not in self.load

    def load_for(self, server):
        return self.load + (self.echoes if server.kind == 'bare' else self.answers)

    def arguments_of(self, server):
        return self.kephas if server.kind == 'kephas' else ()

    def small(self):
        """With so few connections that it is soon tried out."""
        load = list(self.load)
        load[load.index('--connections') + 1] = str(min(self.connections, 501))
        return replace(self, load=tuple(load), check=min(self.check, 2000))


def bars(on_strand, others):
    return {'kephas, on_strand': on_strand, 'kephas, serial': others, 'kephas, pool': others}


COMMAND = '--command', '0x0100'


def closed(connections, depth, size):
    return '--connections', str(connections), '--depth', str(depth), '--size', str(size), *COMMAND


ROWS = (
    Row('50x1x32B', '50 connections, 1 in flight, 32 B', closed(50, 1, 32), bars=bars(Bar(1.15, 1.0), Bar(2.2, 1.6))),
    Row('50x32x32B', '50 connections, 32 in flight, 32 B', closed(50, 32, 32), check=10000,
        bars=bars(Bar(1.4, 1.1), Bar(5, 3))),
    Row('8x4x16KiB', '8 connections, 4 in flight, 16 KiB', closed(8, 4, 16 << 10), check=500,
        bars=bars(Bar(1.4, 1.1), Bar(2.5, 1.6))),
    Row('4x2x1MiB', '4 connections, 2 in flight, 1 MiB', closed(4, 2, 1 << 20), check=32,
        bars=bars(Bar(1.5), Bar(1.7))),
    Row('open-loop', '100 connections, 20,000 messages/s, 32 B',
        ('--connections', '100', '--rate', '20000', '--size', '32', *COMMAND), figure='p50_us', bars=bars(Bar(1.1), Bar(1.5))),
    Row('tls-50x1x32B', 'TLS: 50 connections, 1 in flight, 32 B', closed(50, 1, 32), tls=True,
        bars=bars(Bar(1.3), Bar(2.2))),
    Row('tls-50x32x32B', 'TLS: 50 connections, 32 in flight, 32 B', closed(50, 32, 32), tls=True, check=10000,
        bars=bars(Bar(1.3), Bar(5))),
    Row('tls-8x4x16KiB', 'TLS: 8 connections, 4 in flight, 16 KiB', closed(8, 4, 16 << 10), tls=True, check=500,
        bars=bars(Bar(1.3), Bar(2.5))),
    Row('reconnect-50x32B', 'new connections: 50 at a time, one message of 32 B each',
        ('--reconnect', '--connections', '50', '--size', '32', *COMMAND), unit='connection',
        bars=bars(Bar(1.5), Bar(1.5))),
    Row('broadcast-10000x32B', 'broadcast of 32 B to 10,000 connections',
        ('--broadcast', '--connections', '10001', '--depth', '1', '--size', '32', *COMMAND), unit='delivery',
        check=20000, bars=bars(Bar(1.3), Bar(1.3)), reference='bare_send_loop', kephas=('--broadcast',),
        only_kephas=True),
    Row('rpc-50x32', 'JSON-RPC: 50 connections, 32 calls of math.add in flight',
        ('--connections', '50', '--depth', '32', '--call', 'math.add', '--params', '[2,40]'), unit='call', check=10000,
        bars=bars(Bar(6, 4), Bar(10)), answers=('--expect', '42'), echoes=('--expect-echo',), only_kephas=True),
)
