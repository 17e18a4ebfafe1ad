import os
import tempfile
import unittest
from pathlib import Path
from unittest import mock

import servers
from servers import Peers, Unavailable, digest, other


class Folder(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)


class Commands(Folder):
    def test_of_other_servers_get_a_port(self):
        self.assertEqual(other('a b=server -v').command, ('server', '-v', '--port', '0'))
        self.assertEqual(other('x=server --listen=:%p').command, ('server', '--listen=:%p'))
        for text in ('server', '=server', 'x=', 'x= '):
            with self.assertRaises(ValueError):
                other(text)

    def test_are_another_server_once_the_program_changes(self):
        program = self.folder / 'server'
        program.write_text('one')
        first = other(f'x={program}').identity
        self.assertEqual(other(f'x={program}').identity, first)
        program.write_text('two')
        self.assertNotEqual(other(f'x={program}').identity, first)

    def test_digests_tell_parts_apart(self):
        self.assertNotEqual(digest('a', 'b'), digest('ab'))


class Building(Folder):
    def setUp(self):
        super().setUp()
        self.log = []
        self.peers = Peers(self.folder / 'peers', self.log.append)
        self.peers.folder.mkdir()
        self.source = self.folder / 'source'
        self.source.write_text('int main;')
        self.compiler = self.folder / 'compiler'  # called with -o PROGRAM SOURCE
        self.compiler.write_text('#!/bin/sh\necho once >>"$0.calls"\n[ "$2" != - ] && cp "$3" "$2"\n')
        self.compiler.chmod(0o755)

    def build(self, version='1'):
        return self.peers._built('peer', self.source, [str(self.compiler)], version)

    def calls(self):
        return len(Path(f'{self.compiler}.calls').read_text().splitlines())

    def test_happens_once_for_a_source_and_a_library(self):
        self.assertEqual(self.build(), self.build())
        self.assertEqual(self.calls(), 1)
        self.build('2')
        self.assertEqual(self.calls(), 2)
        self.source.write_text('int main();')
        self.build('2')
        self.assertEqual(self.calls(), 3)

    def test_says_why_it_failed(self):
        self.compiler.write_text('#!/bin/sh\necho note\necho "x.cpp:1: error: no Boost" >&2\necho done\nexit 1\n')
        with self.assertRaisesRegex(Unavailable, 'compiler: x.cpp:1: error: no Boost'):
            self.build()
        with self.assertRaisesRegex(Unavailable, 'there is no no-such-compiler'):
            self.peers._built('peer', self.source, ['no-such-compiler'], '1')

    def test_what_cannot_be_had_is_left_out_with_its_reason(self):
        empty = self.folder / 'empty'
        empty.mkdir()
        with mock.patch.dict(os.environ, {'PATH': str(empty)}), mock.patch.object(servers.shutil, 'which', return_value=None):
            made, missing = self.peers.make(['beast', 'ws', 'bun'])
        self.assertEqual(made, [])
        self.assertEqual(missing, ['beast: there is no g++', 'ws: there is no npm', 'bun: there is no npm'])

    def test_nothing_happens_without_peers(self):
        self.assertEqual(Peers(self.folder / 'none', self.log.append).make([]), ([], []))
        self.assertFalse((self.folder / 'none').exists())
        self.assertEqual(self.log, [])


if __name__ == '__main__':
    unittest.main()
