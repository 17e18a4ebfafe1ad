"""Measures servers in turns and reports; see --help."""
import argparse
import datetime
import json
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import machine
import report as reports
import servers as programs
from measuring import Laboratory
from results import Failed, OutOfTime, Results, TooBusy, complete, measure_row
from rows import ROWS

FIRST_ROUNDS = 6, 1  # pairs of kephas and of a peer at every row before any row gets more; six are enough for a verdict

DESCRIPTION = '''\
Measures kephas-echo and other WebSocket servers beside a bare epoll loop.

The servers take turns, each time with a new process: the machine may be slow for a while, but then for all of them. The
server has one core, the load another. Each server is verified byte for byte before it is measured, and a run during
which others had too much of the two cores is repeated. Every round is kept in --state, and the same command goes on
where the last one stopped; what was measured with another build or other settings does not count. All rows get a few
rounds first and the rest later: one call ends with a figure for each of them, two more complete what is wanted by
default. The result is printed as markdown, and stands with the plots in report.md and report.html in --state.

Peers are other libraries' echo servers: %(peers)s. The packages
that they need are installed (apt, npm) and their programs built, in --state. One that cannot be had is left out, with
the reason in the report.

Each COMMAND is a further server on 127.0.0.1 that echoes WebSocket messages, as one process. It is run with --port 0
and has to print "listening on ADDRESS:PORT", or it contains %%p, which becomes a free port. Not over TLS.
'''

EPILOG = '''\
exit code: 0 if all is measured, 3 if time ran out or the machine was too busy (run it again), 1 if a server fails.

rows: %(rows)s
'''


def options(arguments):
    names = [row.name for row in ROWS]
    parser = argparse.ArgumentParser(
        prog='compare.sh', formatter_class=argparse.RawDescriptionHelpFormatter,
        description=DESCRIPTION % {'peers': ', '.join(programs.Peers.NAMES)}, epilog=EPILOG % {'rows': ', '.join(names)})

    def some_of(known):
        def parse(text):
            chosen = {'none': [], 'all': list(known)}.get(text, text.split(','))
            for name in chosen:
                if name not in known:
                    raise argparse.ArgumentTypeError(f'"{name}" is none of {", ".join(known)}')
            return [name for name in known if name in chosen]
        return parse

    def positive(kind):
        def parse(text):
            value = kind(text)
            if not 0 < value < 1e6:
                raise ValueError
            return value
        parse.__name__ = 'positive number'
        return parse

    add = parser.add_argument
    add('things', nargs='*', metavar='BUILD_DIR | NAME=COMMAND', help='where kephas is built ("build"); further servers')
    add('--rows', type=some_of(names), default=names, help='some of those below, with commas (all)')
    add('--peers', type=some_of(programs.Peers.NAMES), default=list(programs.Peers.NAMES),
        help='some of those above, with commas, or none (all)')
    add('-r', '--rounds', type=positive(int), help='pairs with the bare loop (15)')
    add('--peer-rounds', type=positive(int), help='the same for peers, which have no bar to keep (6)')
    add('-s', '--seconds', type=positive(float), help='of each run (3)')
    add('--warmup', type=positive(float), help='seconds of load before it (0.3)')
    add('--minutes', type=positive(float), default=25, help='no round begins that would end later (25)')
    add('--busy', type=positive(float), default=5, metavar='PER_CENT',
        help='of the two cores that others may have during a run; 100 accepts all (5)')
    add('--state', type=Path, metavar='DIR', help='results, reports and the programs of peers (BUILD_DIR/compare)')
    add('--again', action='store_true', help='forget what was measured of these rows')
    add('--quick', action='store_true',
        help='only that it works: one round of 0.05 s, no peers, however busy the machine is, nothing kept')
    chosen = parser.parse_args(arguments)

    if chosen.quick:
        chosen.peers = []
    for name, full, quick in (('rounds', 15, 1), ('peer_rounds', 6, 1), ('seconds', 3.0, 0.05), ('warmup', 0.3, 0.02)):
        if getattr(chosen, name) is None:
            setattr(chosen, name, quick if chosen.quick else full)
    chosen.peer_rounds = min(chosen.peer_rounds, chosen.rounds)
    folders = [thing for thing in chosen.things if '=' not in thing]
    if len(folders) > 1:
        parser.error('more than one BUILD_DIR')
    chosen.build = Path(folders[0] if folders else 'build').resolve()
    try:
        chosen.others = [programs.other(thing) for thing in chosen.things if '=' in thing]
    except ValueError as error:
        parser.error(str(error))
    chosen.programs = chosen.build / 'benchmarks'
    for name in ('bare_loop', 'bare_send_loop', 'kephas-bench'):
        if not (chosen.programs / name).exists():
            parser.error(f'{chosen.programs}: no {name} there; meson setup {chosen.build} && '
                         f'meson compile -C {chosen.build}')
    if chosen.state is None and not chosen.quick:
        chosen.state = chosen.build / 'compare'
    if chosen.state is not None:
        chosen.state = chosen.state.resolve()
    return chosen


def build_type(build):
    path = build / 'meson-info' / 'intro-buildoptions.json'
    if not path.exists():
        return 'unknown'
    found = {option['name']: option['value'] for option in json.loads(path.read_text())}
    sanitizers = found.get('b_sanitize', 'none')
    return str(found.get('buildtype', 'unknown')) + ('' if sanitizers in ('none', [], '') else ', with sanitizers')


def progress(text):
    print(f'{time.strftime("%H:%M:%S")} {text}', file=sys.stderr, flush=True)


class Comparison:
    def __init__(self, chosen):
        self.chosen = chosen
        self.end = time.monotonic() + 60 * chosen.minutes
        self.results = Results(chosen.state / 'results')
        self.rows = [row.small() if chosen.quick else row for row in ROWS]
        self.bare = {name: programs.reference(chosen.programs, name) for name in {row.reference for row in ROWS}}
        peers, self.peers_left_out = programs.Peers(chosen.state / 'peers', progress).make(chosen.peers)
        self.wanted = [(server, chosen.rounds) for server in programs.kephas(chosen.programs) + chosen.others]
        self.wanted += [(server, chosen.peer_rounds) for server in peers]
        self.load = programs.digest(chosen.programs / 'kephas-bench')
        self.cpus = machine.choose_cpus()
        self.laboratory = Laboratory(
            chosen.programs / 'kephas-bench', self.cpus, chosen.seconds, chosen.warmup,
            None if chosen.quick or chosen.busy >= 100 else chosen.busy / 100, repeats=3, progress=progress)
        self.run_seconds = {}  # of each row
        self.left = {}  # rows, and why
        self.failed = []
        self.out = set()  # rows with servers that failed there

    def key_of(self, row):
        """What a pair was measured with, of its server."""
        bare = self.bare[row.reference].identity
        work = (*row.load, *row.kephas, *row.answers, *row.echoes)
        return lambda server: programs.digest(bare, server.identity, self.load, *work, self.chosen.seconds,
                                              self.chosen.warmup)

    def servers_of(self, row, rounds=None, peer_rounds=None):
        """Those that do its work, and how many pairs are wanted of them: all, or at most so many."""
        found = []
        for server, wanted in self.wanted:
            if server.kind == 'kephas' or not row.only_kephas and (server.tls or not row.tls):
                most = peer_rounds if server.kind == 'peer' else rounds
                found.append((server, wanted if most is None else min(wanted, most)))
        return found

    def measure(self):
        """All that is left of the rows, as far as the time allows: of each a little first, then the rest."""
        rows = [row for row in self.rows if row.name in self.chosen.rows]
        if self.chosen.again:
            for row in rows:
                self.results.forget(row.name)
        for row in rows:
            if self._complete(row):
                progress(f'{row.name}: already measured')
        for rounds in (FIRST_ROUNDS, (None, None)):
            for row in rows:
                self._measure(row, *rounds)
        self.left = {row.name: self.left[row.name] for row in rows if row.name in self.left and not self._complete(row)}

    def _complete(self, row, *rounds):
        return complete(row, self._still_in(row, *rounds), self.results, self.key_of(row))

    def _still_in(self, row, *rounds):
        return [(server, wanted) for server, wanted in self.servers_of(row, *rounds)
                if (row.name, server.name) not in self.out]

    def _measure(self, row, *rounds):
        bare = self.bare[row.reference]
        if (row.name, bare.name) in self.out or self._complete(row, *rounds):
            return
        progress(f'{row.name}: measuring')
        try:
            measure_row(row, bare, self._still_in(row, *rounds), self.results, self.key_of(row),
                        lambda server: self._run(row, server), most_lost=3,
                        time_for=lambda runs: self._time_for(row, runs),
                        failed=lambda server, why: self._fail(row, server, why))
        except OutOfTime:
            self._leave(row, 'the time is over, the same command goes on')
        except TooBusy:
            self._leave(row, 'other programs kept the machine busy')
        except Failed as why:
            self._fail(row, bare, why)

    def _leave(self, row, why):
        self.left[row.name] = f'{row.name}; {why}'
        progress(self.left[row.name])

    def _fail(self, row, server, why):
        self.out.add((row.name, server.name))
        self.failed.append(str(why))
        progress(self.failed[-1])

    def _run(self, row, server):
        begin = time.monotonic()
        discarded = self.laboratory.discarded
        figures = self.laboratory.measure(row, server)
        if self.laboratory.discarded == discarded:  # rises at once, so that the end is kept, and falls slowly
            took = time.monotonic() - begin
            self.run_seconds[row.name] = max(took, 0.9 * self._expected(row) + 0.1 * took)
        return figures

    def _expected(self, row):
        """Seconds of a run; a guess, until one has been made."""
        guess = self.chosen.seconds + self.chosen.warmup + 0.7 + 3e-4 * row.connections
        return self.run_seconds.get(row.name, guess)

    def _time_for(self, row, runs):
        needed = runs * self._expected(row)
        if time.monotonic() + needed > self.end:
            return False
        progress(f'{row.name}: a round of {runs} runs, about {needed:.0f} s')
        return True

    def report(self):
        measured = [reports.Measured.of(row, self.servers_of(row), self.results, self.key_of(row)) for row in self.rows]
        return reports.Report([each for each in measured if each], self.circumstances(), list(self.left.values()),
                              self.failed, self.peers_left_out)

    def circumstances(self):
        chosen = self.chosen
        busy = self.laboratory.busy
        pairs = f'{chosen.rounds} of {chosen.seconds:g} s'
        versions = [server.version for server, _ in self.wanted if server.version]
        if versions:
            pairs += f', {chosen.peer_rounds} with peers'
        facts = [('Date', datetime.date.today().isoformat()), ('Machine', machine.description()),
                 ('CPUs', f'{self.cpus[0]} for the server, {self.cpus[1]} for the load'),
                 ('kephas', f'one I/O thread, one pool thread, build type {build_type(chosen.build)}'),
                 ('Pairs', pairs),
                 ('Other load', 'not looked at' if busy is None else
                  f'at most {busy:.0%} of the two CPUs; {self.laboratory.discarded} runs of this call discarded')]
        if versions:
            facts.append(('Peers', '; '.join(versions)))
        return facts


def interrupted(*_):
    raise KeyboardInterrupt


def main(arguments):
    signal.signal(signal.SIGTERM, interrupted)
    chosen = options(arguments)
    temporary = None
    if chosen.state is None:
        temporary = chosen.state = Path(tempfile.mkdtemp())
    try:
        comparison = Comparison(chosen)
        comparison.measure()
        found = comparison.report()
        text = reports.markdown(found)
        (chosen.state / 'report.md').write_text(text)
        (chosen.state / 'report.html').write_text(reports.html(found))
        print(text, end='')
        if not temporary:
            progress(f'{chosen.state / "report.html"}')
        return 1 if comparison.failed else 3 if comparison.left else 0
    except KeyboardInterrupt:
        print('interrupted; what is measured is kept, and the same command goes on', file=sys.stderr)
        return 130
    finally:
        if temporary:
            shutil.rmtree(temporary, ignore_errors=True)


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
