import json
import tempfile
import unittest
from pathlib import Path
from types import SimpleNamespace

from results import Failed, OutOfTime, Results, TooBusy, complete, measure_row

ROW = SimpleNamespace(name='row')
BARE, FAST, SLOW = (SimpleNamespace(name=name) for name in ('bare', 'fast', 'slow'))
FIGURES = {'bare': {'cpu_us': 2}, 'fast': {'cpu_us': 3}, 'slow': {'cpu_us': 8}}


class Rows(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.results = Results(self.folder)
        self.build = 'a build'
        self.runs = []
        self.failures = []

    def key(self, server):
        return f'{server.name} of {self.build}'

    def measure(self, server):
        self.runs.append(server.name)
        return FIGURES[server.name]

    def go(self, servers, measure=None, time_for=lambda runs: True):
        measure_row(ROW, BARE, servers, Results(self.folder), self.key, measure or self.measure, 3, time_for,
                    lambda server, why: self.failures.append((server.name, str(why))))

    def count(self, server):
        return len(self.results.pairs('row', server.name, self.key(server)))

    def test_servers_take_turns_after_the_bare_loop(self):
        self.go([(FAST, 3), (SLOW, 2)])
        self.assertEqual(self.runs, ['bare', 'fast', 'slow', 'bare', 'slow', 'fast', 'bare', 'fast'])
        self.assertEqual((self.count(FAST), self.count(SLOW)), (3, 2))
        pair = self.results.pairs('row', 'slow', self.key(SLOW))[0]
        self.assertEqual((pair['figures'], pair['bare']), (FIGURES['slow'], FIGURES['bare']))

    def test_what_is_complete_is_not_measured_again(self):
        servers = [(FAST, 2)]
        self.assertFalse(complete(ROW, servers, self.results, self.key))
        self.go(servers)
        self.assertTrue(complete(ROW, servers, self.results, self.key))
        self.runs.clear()
        self.go(servers)
        self.assertEqual(self.runs, [])

    def test_a_server_or_rounds_that_are_added_are_all_that_is_measured(self):
        self.go([(FAST, 2)])
        self.runs.clear()
        self.go([(FAST, 2), (SLOW, 1)])
        self.assertEqual(self.runs, ['bare', 'slow'])
        self.runs.clear()
        self.go([(FAST, 3), (SLOW, 1)])
        self.assertEqual(self.runs, ['bare', 'fast'])

    def test_goes_on_where_it_was_interrupted(self):
        def interrupted(server):
            if len(self.runs) == 4:
                raise KeyboardInterrupt
            return self.measure(server)
        with self.assertRaises(KeyboardInterrupt):
            self.go([(FAST, 3), (SLOW, 3)], interrupted)
        self.assertEqual((self.count(FAST), self.count(SLOW)), (1, 1))  # whole rounds only
        self.runs.clear()
        self.go([(FAST, 3), (SLOW, 3)])
        self.assertEqual(self.runs.count('bare'), 2)
        self.assertEqual((self.count(FAST), self.count(SLOW)), (3, 3))

    def test_ends_before_a_round_for_which_there_is_no_time(self):
        asked = []

        def time_for(runs):
            asked.append(runs)
            return len(asked) < 3
        with self.assertRaises(OutOfTime):
            self.go([(FAST, 5), (SLOW, 1)], time_for=time_for)
        self.assertEqual(asked, [3, 2, 2])
        self.assertEqual((self.count(FAST), self.count(SLOW)), (2, 1))

    def test_figures_of_another_build_do_not_count_but_stay(self):
        self.go([(FAST, 2)])
        self.build = 'another build'
        self.assertFalse(complete(ROW, [(FAST, 2)], self.results, self.key))
        self.go([(FAST, 1)])
        self.assertEqual(self.count(FAST), 1)
        self.build = 'a build'
        self.assertEqual(self.count(FAST), 2)

    def test_forgets_on_request(self):
        self.go([(FAST, 1)])
        self.results.forget('row')
        self.results.forget('row')
        self.assertEqual(self.count(FAST), 0)

    def test_a_disturbed_run_leaves_the_pair_to_a_later_round(self):
        disturbed = iter((False, True, False, False, False))
        self.go([(FAST, 1), (SLOW, 1)],
                lambda server: None if next(disturbed) else self.measure(server))
        self.assertEqual(self.runs, ['bare', 'slow', 'bare', 'fast'])

    def test_a_round_without_a_bare_loop_is_lost(self):
        disturbed = iter((True, False, False))
        self.go([(FAST, 1)], lambda server: None if next(disturbed) else self.measure(server))
        self.assertEqual(self.runs, ['bare', 'fast'])

    def test_gives_up_when_nothing_is_left_in_peace(self):
        attempts = []
        with self.assertRaises(TooBusy):
            self.go([(FAST, 1)], lambda server: attempts.append(server.name))
        self.assertEqual(attempts, ['bare'] * 3)

    def test_a_server_that_fails_leaves_and_the_others_stay(self):
        def measure(server):
            if server is SLOW:
                raise Failed('alters bytes')
            return self.measure(server)
        self.go([(FAST, 2), (SLOW, 2)], measure)
        self.assertEqual(self.failures, [('slow', 'alters bytes')])
        self.assertEqual(self.runs, ['bare', 'fast', 'bare', 'fast'])

    def test_a_bare_loop_that_fails_ends_the_row(self):
        def measure(server):
            raise Failed('gone')
        with self.assertRaises(Failed):
            self.go([(FAST, 2)], measure)
        self.assertEqual(self.failures, [])

    def test_the_file_is_whole_at_any_time(self):
        self.go([(FAST, 2)])
        (self.folder / 'row.partial').write_text('[{"server": "fa')  # what a crash leaves
        self.assertEqual(self.count(FAST), 2)
        self.go([(FAST, 3)])
        self.assertEqual(len(json.loads((self.folder / 'row.json').read_text())), 3)


if __name__ == '__main__':
    unittest.main()
