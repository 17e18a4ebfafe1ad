"""Usage: smoke.py BUILD_DIR. Runs the whole program shortly, with what is built there."""
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

BUILD = str(Path(sys.argv.pop()).resolve())
SCRIPT = Path(__file__).resolve().parent.parent / 'compare.sh'


def compare(*arguments):
    return subprocess.run(['sh', str(SCRIPT), '--quick', *arguments, BUILD], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=150, check=False)


class Compare(unittest.TestCase):
    def test_measures_every_row(self):
        done = compare()
        self.assertEqual(done.returncode, 0, done.stderr)
        for words in ('| kephas, on_strand | ', '## Over TLS', '1 MiB', 'messages/s, 32 B, p50', 'new connections', 'broadcast', 'JSON-RPC'):
            self.assertIn(words, done.stdout)

    def test_goes_on_where_it_stopped(self):
        with tempfile.TemporaryDirectory() as state:
            row = ['--rows', '8x4x16KiB', '--state', state]
            first = compare(*row)
            self.assertEqual(first.returncode, 0, first.stderr)
            self.assertIn('</html>', Path(state, 'report.html').read_text())
            again = compare(*row)
            self.assertIn('already measured', again.stderr)
            self.assertEqual(again.stdout, first.stdout)
            more = compare(*row, f'another={BUILD}/benchmarks/bare_loop --port %p')
            self.assertEqual(more.returncode, 0, more.stderr)
            self.assertIn('a round of 2 runs', more.stderr)
            self.assertIn('| another | ', more.stdout)
            anew = compare(*row, '--again')
            self.assertIn('a round of 4 runs', anew.stderr)

    def test_a_server_that_fails_is_told_and_the_others_are_measured(self):
        done = compare('--rows', '50x1x32B', 'mute=true', 'gone=/no/such/program')
        self.assertEqual(done.returncode, 1)
        self.assertIn('Failed: mute does not listen', done.stdout)
        self.assertIn('Failed: gone does not start', done.stdout)
        self.assertIn('| kephas, pool | ', done.stdout)

    def test_says_what_it_does_not_understand(self):
        for arguments in (['--rows', 'no-such-row'], ['--peers', 'iis'], ['--rounds', '0'], ['=nameless']):
            done = compare(*arguments)
            self.assertEqual(done.returncode, 2, arguments)
            self.assertIn('usage:', done.stderr)


if __name__ == '__main__':
    unittest.main()
