"""The work that servers are measured at, and how much of it kephas may cost at most."""
from dataclasses import dataclass, field


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
    tls: bool = False
    check: int = 2000  # messages that are verified beforehand
    bars: dict = field(default_factory=dict)  # of a server's name

    @property
    def what(self):
        return 'latency, p50' if self.figure == 'p50_us' else 'server CPU per message'


def bars(on_strand, others):
    return {'kephas, on_strand': on_strand, 'kephas, serial': others, 'kephas, pool': others}


def closed(connections, depth, size):
    return '--connections', str(connections), '--depth', str(depth), '--size', str(size)


ROWS = (
    Row('50x1x32B', '50 connections, 1 in flight, 32 B', closed(50, 1, 32), bars=bars(Bar(1.15, 1.0), Bar(2.2, 1.6))),
    Row('50x32x32B', '50 connections, 32 in flight, 32 B', closed(50, 32, 32), check=10000,
        bars=bars(Bar(1.4, 1.1), Bar(5, 3))),
    Row('8x4x16KiB', '8 connections, 4 in flight, 16 KiB', closed(8, 4, 16 << 10), check=500,
        bars=bars(Bar(1.4, 1.1), Bar(2.5, 1.6))),
    Row('4x2x1MiB', '4 connections, 2 in flight, 1 MiB', closed(4, 2, 1 << 20), check=32,
        bars=bars(Bar(1.5), Bar(1.7))),
    Row('open-loop', '100 connections, 20,000 messages/s, 32 B',
        ('--connections', '100', '--rate', '20000', '--size', '32'), figure='p50_us', bars=bars(Bar(1.1), Bar(1.5))),
    Row('tls-50x1x32B', 'TLS: 50 connections, 1 in flight, 32 B', closed(50, 1, 32), tls=True,
        bars=bars(Bar(1.3), Bar(2.2))),
    Row('tls-50x32x32B', 'TLS: 50 connections, 32 in flight, 32 B', closed(50, 32, 32), tls=True, check=10000,
        bars=bars(Bar(1.3), Bar(5))),
    Row('tls-8x4x16KiB', 'TLS: 8 connections, 4 in flight, 16 KiB', closed(8, 4, 16 << 10), tls=True, check=500,
        bars=bars(Bar(1.3), Bar(2.5))),
)

# what cannot be measured yet, and why
NOT_MEASURED = (
    'new connections (accept, handshake with the headers of a browser, one message, close): kephas-bench opens its '
    'connections before it measures',
    'a broadcast of 32 B to 10,000 clients, per delivery: kephas-echo does not broadcast',
    'JSON-RPC math.add, 32 in flight: kephas-bench sends no calls',
)
