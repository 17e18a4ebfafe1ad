"""What was measured, as markdown and as a page with plots."""
import math
from dataclasses import dataclass, field
from html import escape

from figures import Summary, short, verdict

VERDICTS = {'met': 'met', 'missed': 'missed', 'open': 'not certain'}


@dataclass(frozen=True)
class Entry:
    """A server at a row: its own figures, and each as a ratio to the bare loop of the same round."""
    server: object
    wanted: int
    figures: dict
    ratios: dict

    @classmethod
    def of(cls, server, wanted, pairs):
        names = ('cpu_us', 'p50_us', 'p99_us', 'per_second')
        return cls(server, wanted, {name: Summary.of(pair['figures'][name] for pair in pairs) for name in names},
                   {name: Summary.of(pair['figures'][name] / pair['bare'][name] for pair in pairs) for name in names[:3]})

    @property
    def pairs(self):
        return len(self.figures['cpu_us'].values)


@dataclass(frozen=True)
class Measured:
    """A row with the entries that there are; `bare` has the bare loop's own figures."""
    row: object
    bare: dict
    entries: tuple

    @classmethod
    def of(cls, row, servers, results, key):
        """None if there is nothing yet. `servers` are pairs of a server and how often it is wanted."""
        entries, rounds = [], {}
        for server, wanted in servers:
            pairs = results.pairs(row.name, server.name, key(server))
            if pairs:
                entries.append(Entry.of(server, wanted, pairs))
                rounds.update((tuple(sorted(pair['bare'].items())), pair['bare']) for pair in pairs)
        if not entries:
            return None
        bare = {name: Summary.of(figures[name] for figures in rounds.values())
                for name in ('cpu_us', 'p50_us', 'p99_us', 'per_second')}
        return cls(row, bare, tuple(entries))


@dataclass
class Report:
    measured: list
    circumstances: list  # pairs of a name and a text
    left: list = field(default_factory=list)  # rows that are not complete, and why
    failed: list = field(default_factory=list)  # servers at a row, and how
    peers_left_out: list = field(default_factory=list)

    def columns(self, tls):
        """A heading, the row and the figure that is compared; an open loop has two."""
        for each in self.measured:
            if each.row.tls != tls:
                continue
            if each.row.figure == 'p50_us':
                yield f'{each.row.title}, p50', each, 'p50_us'
                yield 'p99', each, 'p99_us'
            else:
                yield each.row.title.removeprefix('TLS: '), each, each.row.figure

    def servers(self, tls):
        found = {}
        for each in self.measured:
            if each.row.tls == tls:
                found.update((entry.server.name, entry.server) for entry in each.entries)
        return list(found.values())

    def notes(self):
        yield from (f'Not complete: {line}' for line in self.left)
        yield from (f'Failed: {line}' for line in self.failed)
        yield from (f'Peer left out: {line}' for line in self.peers_left_out)


def with_interval(summary):
    if len(summary.values) == 1:
        return short(summary.median)
    return f'{short(summary.median)} ({short(summary.low)}–{short(summary.high)})'


def with_range(summary):
    if len(summary.values) == 1:
        return short(summary.median)
    return f'{short(summary.median)} ({short(min(summary.values))}–{short(max(summary.values))})'


EXPLANATION = (
    'The servers take turns, each time with a new process. A ratio is to the bare loop of the same round; what is '
    'shown is the median of the ratios, and in parentheses what holds it with a probability of 95 % (with fewer than '
    'six pairs: their range). CPU is that of the server per message, delivery of a broadcast, call or whole connection, '
    'except in the open loop: latency from the time at which a message was to leave. Broadcasts are compared with a loop '
    'that sends one buffer to all, calls with the loop that echoes them.')


def table(headings, rows, numbers_from=1):
    lines = ['| ' + ' | '.join(headings) + ' |',
             '|' + '|'.join('---' if i < numbers_from else '--:' for i in range(len(headings))) + '|']
    lines += ['| ' + ' | '.join(cell.replace('|', '\\|') for cell in row) + ' |' for row in rows]
    return '\n'.join(lines)


def ratio_rows(report, tls):
    """Cells of the table of ratios; the bare loop's are its own figures."""
    columns = list(report.columns(tls))
    yield ['bare loop', *(f'{short(each.bare[figure].median)} µs' for _, each, figure in columns)]
    for server in report.servers(tls):
        cells = []
        for _, each, figure in columns:
            entry = next((e for e in each.entries if e.server.name == server.name), None)
            cells.append(with_interval(entry.ratios[figure]) if entry else '')
        yield [server.name, *cells]


BAR_HEADINGS = ('work', 'server', 'times the bare loop', 'bar', 'goal', '')


def bar_rows(report):
    for each in report.measured:
        for entry in each.entries:
            bar = each.row.bars.get(entry.server.name)
            if bar is None:
                continue
            ratio = entry.ratios[each.row.figure]
            yield [each.row.title, entry.server.name, with_interval(ratio), f'{bar.limit:g}',
                   '' if bar.goal is None else f'{bar.goal:g}', VERDICTS[verdict(ratio, bar.limit)]]


ABSOLUTE_HEADINGS = ('work', 'server', 'pairs', 'CPU, µs each', 'p50, µs', 'p99, µs', 'per second')


def absolute_rows(report):
    for each in report.measured:
        rounds = len(each.bare['cpu_us'].values)
        lines = [('bare loop', str(rounds), each.bare)]
        lines += [(e.server.name, str(e.pairs) if e.pairs >= e.wanted else f'{e.pairs} of {e.wanted}', e.figures)
                  for e in each.entries]
        for name, pairs, figures in lines:
            yield [each.row.title, name, pairs, *(with_range(figures[f]) for f in ('cpu_us', 'p50_us', 'p99_us')),
                   f'{figures["per_second"].median:,.0f}']


def markdown(report):
    parts = ['# Servers beside a bare epoll loop', '\n'.join(f'- {name}: {text}' for name, text in report.circumstances)]
    if report.measured:
        parts.append(EXPLANATION)
    for tls, heading in ((False, '## Times the bare loop'), (True, '## Over TLS, times the bare loop over TLS')):
        columns = list(report.columns(tls))
        if columns:
            parts += [heading, table(['server', *(title for title, _, _ in columns)], ratio_rows(report, tls))]
    bars = list(bar_rows(report))
    if bars:
        parts += ['## The bars of kephas', 'Met: the median is not above the bar. Missed: the whole interval is.',
                  table(BAR_HEADINGS, bars, 2)]
    if report.measured:
        parts += ['## The figures themselves', 'Medians, and in parentheses the least and the largest.',
                  table(ABSOLUTE_HEADINGS, absolute_rows(report), 2)]
    notes = list(report.notes())
    if notes:
        parts += ['## What is not here', '\n'.join(f'- {note}' for note in notes)]
    return '\n\n'.join(parts) + '\n'


STYLE = '''
:root { color-scheme: light dark; --ink: #1c2430; --dim: #5d6978; --paper: #fff; --line: #d9dfe6; --mark: #2563c9;
  --peer: #77808c; --note: #b4460f; --good: #1d7a46; --stripe: #f4f6f9 }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e9ef; --dim: #98a4b3; --paper: #12161c; --line: #2e3742;
  --mark: #6ea4ff; --peer: #8e99a8; --note: #ff9a5c; --good: #5fd08f; --stripe: #1a2028 } }
* { box-sizing: border-box }
body { margin: 0 auto; padding: 1.25rem; max-width: 66rem; font: 1rem/1.5 system-ui, sans-serif; color: var(--ink);
  background: var(--paper) }
h1 { margin: 0 0 .75rem; font-size: 1.5rem; line-height: 1.2 }
h2 { margin: 2.5rem 0 .25rem; font-size: 1.15rem }
h3 { margin: 1.75rem 0 .1rem; font-size: 1rem }
p { margin: .25rem 0; color: var(--dim) }
ul { margin: .5rem 0; padding-left: 1.2rem; color: var(--dim) }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1rem; margin: .75rem 0 }
dt { color: var(--dim) }
dd { margin: 0; overflow-wrap: anywhere }
.plot { margin-top: .75rem; font-variant-numeric: tabular-nums }
.plot > div { display: grid; grid-template-columns: 10.5rem 1fr 9.5rem; align-items: center; gap: 0 1rem }
.plot .value { text-align: right; white-space: nowrap }
.plot .value small { color: var(--dim) }
.track { position: relative; height: 1.9rem; border-left: 1px solid var(--line); border-right: 1px solid var(--line) }
.track * { position: absolute }
.tick { top: 0; bottom: 0; width: 1px; background: var(--line) }
.tick.one { background: var(--dim) }
.span { top: calc(50% - .3rem); height: .6rem; min-width: 2px; border-radius: .3rem; opacity: .35;
  background: var(--peer) }
.dot, .pair { top: 50%; border-radius: 50%; transform: translate(-50%, -50%); background: var(--peer) }
.dot { width: .6rem; height: .6rem }
.pair { width: .2rem; height: .2rem; margin-top: .6rem; opacity: .7 }
.kephas .dot, .kephas .pair, .kephas .span { background: var(--mark) }
.kephas .name { font-weight: 600 }
.bar { top: .2rem; bottom: .2rem; width: 0; border-left: 2px dashed var(--note) }
.axis .track { height: 1.4rem; border-color: transparent }
.axis span { top: .1rem; transform: translateX(-50%); font-size: .8rem; color: var(--dim); white-space: nowrap }
.key { font-size: .85rem }
.wide { overflow-x: auto; margin-top: .5rem }
table { border-collapse: collapse; min-width: 100%; font-size: .9rem }
th, td { padding: .35rem .75rem .35rem 0; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap;
  vertical-align: bottom; font-variant-numeric: tabular-nums }
th { font-weight: normal; color: var(--dim); white-space: normal; min-width: 5.5rem }
th:first-child, td:first-child, .two th:nth-child(2), .two td:nth-child(2) { text-align: left }
td:first-child { position: sticky; left: 0; background: var(--paper) }
.met { color: var(--good) }
.missed { color: var(--note); font-weight: 600 }
@media (max-width: 40rem) {
  .plot > div { grid-template-columns: 1fr max-content }
  .plot .track { grid-column: 1 / -1; grid-row: 2 }
  .plot .axis .track { grid-row: 1 }
  .plot > div + div { margin-top: .35rem }
  .two td:first-child, .two th:first-child { white-space: normal; min-width: 8.5rem }
  dl { grid-template-columns: 1fr }
  dd { margin-bottom: .35rem }
}
'''


class LogAxis:
    """From a little below one, and the least, to a little above the largest."""

    def __init__(self, values):
        values = [value for value in values if value > 0] or [1.0]
        self.low = math.log(min(0.9, min(values) * 0.95))
        self.high = math.log(max(max(values) * 1.07, 2.2))

    def place(self, value):
        """In per cent."""
        share = (math.log(value) - self.low) / (self.high - self.low) if value > 0 else 0
        return 100 * min(max(share, 0), 1)

    def ticks(self):
        """Round numbers, not more than a phone has room for."""
        for mantissas in ((1, 1.2, 1.5, 2, 3, 5, 7), (1, 1.5, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,)):
            found = [m * 10**decade for decade in range(-3, 6) for m in mantissas]
            found = [value for value in found if self.low <= math.log(value) <= self.high]
            if len(found) <= 7:
                break
        return found


def plot(each):
    figure = each.row.figure
    ratios = [entry.ratios[figure] for entry in each.entries]
    bars = [each.row.bars[e.server.name].limit for e in each.entries if e.server.name in each.row.bars]
    axis = LogAxis([value for ratio in ratios for value in ratio.values] + bars)
    ticks = axis.ticks()
    grid = ''.join(f'<i class="tick{" one" if tick == 1 else ""}" style="left:{axis.place(tick):.2f}%"></i>'
                   for tick in ticks)
    lines = []
    for entry, ratio in zip(each.entries, ratios):
        bar = each.row.bars.get(entry.server.name)
        low, high = axis.place(ratio.low), axis.place(ratio.high)
        marks = f'<i class="span" style="left:{low:.2f}%;width:{high - low:.2f}%"></i>'
        marks += ''.join(f'<i class="pair" style="left:{axis.place(value):.2f}%"></i>' for value in ratio.values)
        marks += f'<i class="dot" style="left:{axis.place(ratio.median):.2f}%"></i>'
        if bar:
            marks += f'<i class="bar" style="left:{axis.place(bar.limit):.2f}%" title="bar: {bar.limit:g}"></i>'
        lines.append(
            f'<div class="{escape(entry.server.kind)}"><span class="name">{escape(entry.server.name)}</span>'
            f'<div class="track" role="img" aria-label="{escape(with_interval(ratio))}">{grid}{marks}</div>'
            f'<span class="value">{short(ratio.median)} <small>{short(ratio.low)}–{short(ratio.high)}</small></span>'
            '</div>')
    labels = ''.join(f'<span style="left:{axis.place(tick):.2f}%">{tick:g}</span>' for tick in ticks)
    lines.append(f'<div class="axis"><span></span><div class="track">{labels}</div><span></span></div>')
    return '<div class="plot">\n' + '\n'.join(lines) + '\n</div>\n'


def html_table(headings, rows, two=False):
    def cell(text):
        kind = {'met': ' class="met"', 'missed': ' class="missed"'}.get(text, '')
        return f'<td{kind}>{escape(text)}</td>'
    head = ''.join(f'<th scope="col">{escape(heading)}</th>' for heading in headings)
    body = '\n'.join(f'<tr>{"".join(cell(text) for text in row)}</tr>' for row in rows)
    return f'<div class="wide{" two" if two else ""}"><table>\n<tr>{head}</tr>\n{body}\n</table></div>\n'


def html(report):
    title = 'Servers beside a bare epoll loop'
    facts = ''.join(f'<dt>{escape(name)}</dt><dd>{escape(text)}</dd>\n' for name, text in report.circumstances)
    body = [f'<h1>{title}</h1>\n<dl>\n{facts}</dl>\n']
    if report.measured:
        body.append(f'<p>{escape(EXPLANATION)}</p>\n<h2>Times the bare loop</h2>\n<p class="key">Large dot: the median. '
                    'Band: the interval. Small dots: each pair. Dashed line: the bar that kephas has to keep. '
                    'Logarithmic; each plot has a scale of its own.</p>\n')
    for each in report.measured:
        bare = each.bare[each.row.figure]
        body.append(f'<h3>{escape(each.row.title)}</h3>\n<p>{escape(each.row.what)}; the bare loop takes '
                    f'{escape(with_range(bare))} µs</p>\n{plot(each)}')
    bars = list(bar_rows(report))
    if bars:
        body.append('<h2>The bars of kephas</h2>\n<p>Met: the median is not above the bar. Missed: the whole interval '
                    f'is.</p>\n{html_table(BAR_HEADINGS, bars, two=True)}')
    for tls, heading in ((False, 'All ratios'), (True, 'All ratios over TLS')):
        columns = list(report.columns(tls))
        if columns:
            headings = ['server', *(title for title, _, _ in columns)]
            body.append(f'<h2>{heading}</h2>\n{html_table(headings, ratio_rows(report, tls))}')
    if report.measured:
        body.append('<h2>The figures themselves</h2>\n<p>Medians, and in parentheses the least and the largest.</p>\n'
                    + html_table(ABSOLUTE_HEADINGS, absolute_rows(report), two=True))
    notes = ''.join(f'<li>{escape(note)}</li>\n' for note in report.notes())
    if notes:
        body.append(f'<h2>What is not here</h2>\n<ul>\n{notes}</ul>\n')
    return ('<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f'<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n{"".join(body)}</body>\n</html>\n')
