import re
import unittest
from html.parser import HTMLParser
from types import SimpleNamespace

from report import LogAxis, Measured, Report, html, markdown
from rows import ROWS


def server(name, kind='peer'):
    return SimpleNamespace(name=name, kind=kind)


class Made:
    """Results of which a server's ratios are known: the bare loop takes 2 us."""

    def __init__(self, ratios):
        self.ratios = ratios

    def pairs(self, _, name, key):
        return [{'figures': self.figures(2 * ratio), 'bare': {**self.figures(2), 'time': number}}
                for number, ratio in enumerate(self.ratios.get(name, ()))]

    @staticmethod
    def figures(us):
        return {'cpu_us': us, 'p50_us': 10 * us, 'p99_us': 100 * us, 'per_second': 1e6 / us}


ON_STRAND = server('kephas, on_strand', 'kephas')
SERVERS = [(ON_STRAND, 15), (server('A <B> & C'), 6)]


def report(ratios, rows=ROWS):
    measured = [Measured.of(row, SERVERS, Made(ratios), lambda s: '') for row in rows]
    return Report([each for each in measured if each], [('Machine', 'a <machine>')], ['row; no time'],
                  ['row, ws: alters bytes'], ['bun: there is no npm'])


class Tags(HTMLParser):
    """Whether what is opened is closed."""

    def __init__(self, text):
        super().__init__()
        self.open = []
        self.seen = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.seen.append((tag, dict(attributes)))
        if tag != 'meta':
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, tag


class Reports(unittest.TestCase):
    def test_shows_ratios_their_intervals_and_whether_a_bar_is_met(self):
        text = markdown(report({'kephas, on_strand': [1.2] * 4 + [1.3] * 7 + [1.4] * 4, 'A <B> & C': [3, 4, 5]}))
        self.assertIn('| kephas, on_strand | 1.30 (1.20–1.40) |', text)
        self.assertIn('| A <B> & C | 4.00 (3.00–5.00) |', text)
        self.assertIn('| bare loop | 2.00 µs |', text)
        self.assertIn('| 50 connections, 1 in flight, 32 B | kephas, on_strand | 1.30 (1.20–1.40) | 1.15 | 1 | missed |',
                      text)
        self.assertIn('| 50 connections, 32 in flight, 32 B | kephas, on_strand | 1.30 (1.20–1.40) | 1.4 | 1.1 | met |',
                      text)
        self.assertIn('| 50 connections, 1 in flight, 32 B | A <B> & C | 3 of 6 | 8.00 (6.00–10.0) |', text)

    def test_an_open_loop_is_compared_by_latency(self):
        open_loop = next(row for row in ROWS if row.name == 'open-loop')
        text = markdown(report({'kephas, on_strand': [1.05] * 15}, [open_loop]))
        self.assertIn('| bare loop | 20.0 µs | 200 µs |', text)
        self.assertIn('| 1.1 |  | met |', text)

    def test_says_what_is_not_there(self):
        text = markdown(report({}))
        for line in ('- Not complete: row; no time', '- Failed: row, ws: alters bytes', '- Peer left out: bun: there is no npm'):
            self.assertIn(line, text)
        self.assertNotIn('times the bare loop', text.lower())

    def test_every_row_of_a_table_has_its_columns(self):
        text = markdown(report({'kephas, on_strand': [1.2] * 15}))
        for block in text.split('\n\n'):
            if block.startswith('|'):
                self.assertEqual(len({line.count('|') for line in block.splitlines()}), 1, block)

    def test_the_page_is_whole_escaped_and_needs_nothing_else(self):
        page = html(report({'kephas, on_strand': [1.2] * 15, 'A <B> & C': [3, 4, 5, 60]}))
        tags = Tags(page)
        self.assertEqual(tags.open, [])
        self.assertIn('A &lt;B&gt; &amp; C', page)
        self.assertNotIn('<B>', page)
        for tag, attributes in tags.seen:
            self.assertNotIn(tag, ('script', 'link', 'img', 'iframe'))
            self.assertFalse({'src', 'href'} & set(attributes))
        places = [float(place) for place in re.findall(r'left:([-\d.]+)%', page)]
        self.assertTrue(places and all(0 <= place <= 100 for place in places))

    def test_a_page_without_figures_is_one_too(self):
        self.assertEqual(Tags(html(report({}))).open, [])


class Axes(unittest.TestCase):
    def test_has_a_few_round_numbers_whatever_the_range(self):
        for values in ([1], [0.03, 1], [1, 1.2], [1, 9], [1, 40], [0.5, 3000]):
            axis = LogAxis(values)
            self.assertTrue(2 <= len(axis.ticks()) <= 7, (values, axis.ticks()))
            self.assertTrue(all(0 < axis.place(value) < 100 for value in values))


class Rows(unittest.TestCase):
    def test_names_are_different_and_good_for_files(self):
        self.assertEqual(len({row.name for row in ROWS}), len(ROWS))
        for row in ROWS:
            self.assertRegex(row.name, r'^[\w-]+$')
            self.assertEqual(set(row.bars), {f'kephas, {d}' for d in ('on_strand', 'serial', 'pool')})

    def test_a_small_one_is_the_same_work_with_fewer_connections(self):
        for row in ROWS:
            small = row.small()
            self.assertEqual(len(small.load), len(row.load))
            changed = {new for old, new in zip(row.load, small.load) if old != new}
            self.assertEqual(changed, {'501'} if row.name == 'broadcast-10000x32B' else set(), row.name)
            self.assertEqual(small.name, row.name)

    def test_calls_are_echoed_by_the_bare_loop_and_answered_by_others(self):
        row = next(row for row in ROWS if row.name == 'rpc-50x32')
        self.assertEqual(row.load_for(server('bare loop', 'bare'))[-1:], ('--expect-echo',))
        self.assertEqual(row.load_for(ON_STRAND)[-2:], ('--expect', '42'))

    def test_only_kephas_is_told_what_it_has_to_do(self):
        row = next(row for row in ROWS if row.name == 'broadcast-10000x32B')
        self.assertEqual(row.arguments_of(ON_STRAND), ('--broadcast',))
        self.assertEqual(row.arguments_of(server('bare send loop', 'bare')), ())
        self.assertEqual(row.what, 'server CPU per delivery')


if __name__ == '__main__':
    unittest.main()
