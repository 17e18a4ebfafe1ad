import importlib.util
import tempfile
import unittest
from pathlib import Path
from types import SimpleNamespace

from results import Failed, Results
from rows import ROWS

SPEC = importlib.util.spec_from_file_location('comparison', Path(__file__).with_name('__main__.py'))
comparison = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(comparison)

NAMES = ('50x1x32B', 'tls-50x1x32B', 'reconnect-50x32B', 'broadcast-10000x32B', 'rpc-50x32')


def server(name, kind, tls=False):
    return SimpleNamespace(name=name, kind=kind, tls=tls, identity=name)


KEPHAS = server('kephas, pool', 'kephas', tls=True)
PEER = server('Bun', 'peer')
OTHER = server('mine', 'other')


class Made(comparison.Comparison):
    """Without programs: `runs` has the rows and servers that were measured, in this order."""

    def __init__(self, state, runs, rounds=8, peer_rounds=3, most=10**6, failing=()):
        self.chosen = SimpleNamespace(rows=NAMES, again=False, seconds=1, warmup=0)
        self.rows = ROWS
        self.results = Results(state)
        self.bare = {name: server(name, 'bare') for name in {row.reference for row in ROWS}}
        self.wanted = [(KEPHAS, rounds), (OTHER, rounds), (PEER, peer_rounds)]
        self.load = ''
        self.left, self.failed, self.out = {}, [], set()
        self.runs, self.most, self.failing = runs, most, failing

    def _run(self, row, server):
        if (row.name, server.name) in self.failing:
            raise Failed(f'{row.name}, {server.name}: fails')
        self.runs.append((row.name, server.name))
        return {'cpu_us': 1}

    def _time_for(self, row, runs):
        return len(self.runs) + runs <= self.most


class Comparing(unittest.TestCase):
    def setUp(self):
        comparison.progress = lambda text: None
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.state = folder.name
        self.runs = []

    def go(self, **settings):
        made = Made(self.state, self.runs, **settings)
        made.measure()
        return made

    def count(self, row, name):
        return self.runs.count((row, name))

    def test_every_row_gets_a_little_before_any_gets_more(self):
        self.go()
        order = [row for i, (row, _) in enumerate(self.runs) if i == 0 or self.runs[i - 1][0] != row]
        self.assertEqual(order, [*NAMES, *NAMES])
        first = self.runs[:self.runs.index((NAMES[-1], 'bare_loop'))]
        self.assertEqual(first.count((NAMES[0], KEPHAS.name)), 6)
        self.assertEqual(first.count((NAMES[0], PEER.name)), 1)
        for row in NAMES:
            self.assertEqual(self.count(row, KEPHAS.name), 8)
        self.assertEqual(self.count(NAMES[0], PEER.name), 3)

    def test_each_server_does_the_rows_that_it_can(self):
        self.go()
        for name in (PEER.name, OTHER.name):
            self.assertEqual({row for row, each in self.runs if each == name}, {'50x1x32B', 'reconnect-50x32B'})
        self.assertEqual({row for row, each in self.runs if each == 'bare_send_loop'}, {'broadcast-10000x32B'})

    def test_what_is_left_when_time_is_over_is_told_and_done_by_later_calls(self):
        calls = 0
        while True:
            calls += 1
            self.runs = []
            made = self.go(most=100)
            if not made.left:
                break
            self.assertTrue(self.runs)
            self.assertEqual([row.split(';')[0] for row in made.left.values()], list(made.left))
        self.assertEqual(calls, 2)
        self.runs = []
        self.assertEqual(self.go().left, {})
        self.assertEqual(self.runs, [])

    def test_a_server_that_fails_is_told_once_and_is_out_of_that_row(self):
        made = self.go(failing={('50x1x32B', PEER.name), ('rpc-50x32', 'bare_loop')})
        self.assertEqual(made.failed, ['50x1x32B, Bun: fails', 'rpc-50x32, bare_loop: fails'])
        self.assertEqual(self.count('50x1x32B', KEPHAS.name), 8)
        self.assertEqual(self.count('reconnect-50x32B', PEER.name), 3)
        self.assertEqual(self.count('rpc-50x32', KEPHAS.name), 0)
        self.assertEqual(made.left, {})


if __name__ == '__main__':
    unittest.main()
