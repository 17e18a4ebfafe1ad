"""What has been measured, kept in files, so that a run goes on where the last one stopped."""
import json
import os
from pathlib import Path


class Results:
    """One file per row, with the pairs that were measured: a server's figures and the bare loop's of the same round.

    A pair counts only for what it was measured with: `key` names the programs and the settings. The figures of another
    build stay in the file, and never mix with those of this one.
    """

    def __init__(self, folder):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)

    def pairs(self, row, server, key):
        return [pair for pair in self._read(row) if pair['server'] == server and pair['key'] == key]

    def add(self, row, pairs):
        """All of a round or none: the file is replaced as a whole."""
        path = self._path(row)
        partial = path.with_suffix('.partial')
        partial.write_text(json.dumps(self._read(row) + pairs, indent=0))
        os.replace(partial, path)

    def forget(self, row):
        self._path(row).unlink(missing_ok=True)

    def _path(self, row):
        return self.folder / f'{row}.json'

    def _read(self, row):
        path = self._path(row)
        return json.loads(path.read_text()) if path.exists() else []


class OutOfTime(Exception):
    pass


class TooBusy(Exception):
    pass


class Failed(Exception):
    """A server or the load does not do what it should; the text says which and what."""


def complete(row, servers, results, key):
    """Whether nothing of the row is left to be measured. `servers` are pairs of a server and how often it is wanted."""
    return not _lacking(row, servers, results, key)


def measure_row(row, bare, servers, results, key, measure, most_lost, time_for, failed):
    """Takes turns, the bare loop first in each round, until each server has as many pairs as it is wanted.

    `measure(server)` returns figures, or None if other load disturbed it. Without a bare loop a round is lost; after
    `most_lost` rounds in a row that brought nothing this raises TooBusy. Before each round `time_for(runs)` says
    whether so many runs can still be made; if not, OutOfTime is raised. What is complete is not measured again.

    A server for which `measure` raises Failed is told to `failed(server, why)`, and no longer takes part; what the bare
    loop raises ends the row.
    """
    lost = 0
    turn = 0
    servers = list(servers)
    while lacking := _lacking(row, servers, results, key):
        if not time_for(1 + len(lacking)):
            raise OutOfTime
        first = turn % len(lacking)  # nobody is always the first after the bare loop
        turn += 1
        pairs = []
        reference = measure(bare)
        if reference is not None:
            for server in lacking[first:] + lacking[:first]:
                try:
                    figures = measure(server)
                except Failed as why:
                    failed(server, why)
                    servers = [each for each in servers if each[0] is not server]
                    continue
                if figures is not None:
                    pairs.append({'server': server.name, 'key': key(server), 'figures': figures, 'bare': reference})
        if pairs:
            results.add(row.name, pairs)
            lost = 0
        elif len(lacking) > len(_lacking(row, servers, results, key)):
            lost = 0  # a server has left
        else:
            lost += 1
            if lost >= most_lost:
                raise TooBusy


def _lacking(row, servers, results, key):
    return [server for server, wanted in servers if len(results.pairs(row.name, server.name, key(server))) < wanted]
