"""The servers that are compared, and how the peers among them are installed and built."""
import hashlib
import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

SOURCES = Path(__file__).resolve().parent.parent / 'peers'
REPOSITORY = SOURCES.parent.parent


@dataclass(frozen=True)
class Server:
    name: str
    command: tuple
    identity: str  # changes with the program: figures of another do not count
    version: str = ''
    ordered: bool = True  # replies of a connection keep the order of its messages
    tls: bool = False  # takes --tls-cert and --tls-key
    kind: str = 'peer'
    settling: float = 0  # seconds of load that a just-in-time compiler needs before the measured ones


class Unavailable(Exception):
    """Why a peer is left out, in a line."""


def digest(*parts):
    """Of files, by content, and of words."""
    found = hashlib.sha256()
    for part in parts:
        found.update(part.read_bytes() if isinstance(part, Path) else str(part).encode())
        found.update(b'\0')
    return found.hexdigest()[:16]


def reference(programs, name):
    """What a row is compared with: bare_loop, or bare_send_loop for broadcasts."""
    program = programs / name
    return Server(name.replace('_', ' '), (str(program), '--port', '0'), digest(program), tls=True, kind='bare')


def kephas(programs):
    program = programs / 'kephas-echo'
    if not program.exists():
        return []
    common = (str(program), '--port', '0', '--io-threads', '1', '--pool-threads', '1', '--dispatch')
    return [Server(f'kephas, {dispatch}', (*common, dispatch), digest(program, dispatch), tls=True, kind='kephas',
                   ordered=dispatch != 'pool') for dispatch in ('on_strand', 'serial', 'pool')]


def other(text):
    """NAME=COMMAND; nothing is known about it."""
    name, _, command = text.partition('=')
    words = command.split()
    if not name or not words:
        raise ValueError(f'not NAME=COMMAND: {text}')
    if '%p' not in command:
        words += ['--port', '0']
    program = Path(shutil.which(words[0]) or words[0])
    return Server(name, tuple(words), digest(*words, *([program] if program.is_file() else [])), ordered=False,
                  kind='other')


def _output(command, **options):
    """What a tool says, or Unavailable with the last line of its complaint."""
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                              text=True, errors='replace', timeout=900, check=False, **options)
    except FileNotFoundError:
        raise Unavailable(f'there is no {command[0]}') from None
    except subprocess.TimeoutExpired:
        raise Unavailable(f'{command[0]} took longer than 15 minutes') from None
    if done.returncode != 0:
        lines = [line for line in done.stdout.splitlines() if line.strip()] or [f'code {done.returncode}']
        errors = [line for line in lines if 'error' in line.lower()]
        raise Unavailable(f'{Path(command[0]).name}: {(errors or lines[-1:])[0].strip()[:200]}')
    return done.stdout


def _package_version(name):
    try:
        return _output(['dpkg-query', '-W', '-f', '${source:Upstream-Version}', name])
    except Unavailable:
        return 'of unknown version'


class Peers:
    """Other libraries' servers, made in a folder of their own; a program is built again only if its source changed."""

    NAMES = ('beast', 'websocketpp', 'gorilla', 'ws', 'bun')

    def __init__(self, folder, progress):
        self.folder = Path(folder).resolve()
        self.progress = progress
        self._npm_failure = None

    def make(self, names):
        """Servers, and for those that cannot be had a line that says why."""
        if not names:
            return [], []
        self.folder.mkdir(parents=True, exist_ok=True)
        try:  # does nothing where all is there; what is missing all the same shows below
            self.progress('packages of the system')
            _output(['sh', str(REPOSITORY / 'test' / 'support' / 'install.sh'), 'peers'])
        except Unavailable as why:
            self.progress(f'not all could be installed: {why}')
        servers, missing = [], []
        for name in names:
            self.progress(f'peer {name}')
            try:
                servers.append(getattr(self, f'_{name}')())
            except Unavailable as why:
                missing.append(f'{name}: {why}')
                self.progress(f'{name} is left out: {why}')
        return servers, missing

    def _built(self, name, source, command, version, environment=None):
        program = self.folder / name
        made_from = self.folder / f'{name}.made-from'
        made = digest(source, version, *command)
        if not program.exists() or not made_from.exists() or made_from.read_text() != made:
            _output([*command, '-o', str(program), str(source)], env={**os.environ, **(environment or {})})
            made_from.write_text(made)
        return digest(program)

    def _cxx(self, name, options, library, package):
        version = f'{library} {_package_version(package)}'
        command = ['g++', '-O3', '-DNDEBUG', '-pthread', *options]
        identity = self._built(name, SOURCES / f'{name}.cpp', command, version)
        return version, (str(self.folder / name),), identity

    def _beast(self):
        version, command, identity = self._cxx('beast', ['-std=c++20'], 'Boost', 'libboost-dev')
        return Server('Boost.Beast', command, identity, version)

    def _websocketpp(self):
        version, command, identity = self._cxx('websocketpp', ['-std=c++17', '-DASIO_STANDALONE'], 'websocketpp',
                                               'libwebsocketpp-dev')
        return Server('websocketpp', command, identity, version)

    def _gorilla(self):
        packages = Path('/usr/share/gocode')
        if not (packages / 'src/github.com/gorilla/websocket').exists():
            raise Unavailable('golang-github-gorilla-websocket-dev is not installed')
        library = _package_version('golang-github-gorilla-websocket-dev')
        version = f'gorilla/websocket {library}, {_output(["go", "version"]).split()[2].replace("go", "Go ")}'
        identity = self._built('gorilla', SOURCES / 'gorilla.go', ['go', 'build'], version, {
            'GO111MODULE': 'off', 'GOFLAGS': '', 'GOPATH': str(packages), 'GOCACHE': str(self.folder / 'go-cache')})
        return Server('gorilla/websocket', (str(self.folder / 'gorilla'),), identity, version)

    def _npm(self, package):
        """Where the package is; npm is asked once for all."""
        packages = self.folder / 'node'
        there = packages / 'package.json'
        wanted = (SOURCES / 'package.json').read_text()
        if self._npm_failure is None and not (there.exists() and there.read_text() == wanted):
            staged = self.folder / 'node-staged'
            shutil.rmtree(staged, ignore_errors=True)
            staged.mkdir()
            (staged / 'package.json').write_text(wanted)
            try:
                _output(['npm', 'install', '--no-audit', '--no-fund', '--no-package-lock'], cwd=staged)
            except Unavailable as why:
                self._npm_failure = why
            else:
                shutil.rmtree(packages, ignore_errors=True)
                staged.rename(packages)
        if self._npm_failure is not None:
            raise self._npm_failure
        found = packages / 'node_modules' / package
        if not found.exists():
            raise Unavailable(f'npm has not installed {package}')
        return found

    def _script(self, name):
        """In the folder of the packages: that is where an import looks for them."""
        source = SOURCES / name
        copy = self.folder / 'node' / name
        copy.write_bytes(source.read_bytes())
        return str(copy)

    def _ws(self):
        package = json.loads((self._npm('ws') / 'package.json').read_text())
        node = shutil.which('node') or 'node'
        version = f'ws {package["version"]}, Node {_output([node, "--version"]).strip().lstrip("v")}'
        return Server('Node ws', (node, self._script('ws.mjs')), digest(SOURCES / 'ws.mjs', version), version,
                      settling=1)

    def _bun(self):
        """The program is an optional dependency of the package, by platform; the package's script moves it."""
        package = self._npm('bun')
        candidates = [package / 'bin' / 'bun.exe', *sorted(package.parent.glob('@oven/*/bin/bun'))]
        why = Unavailable('npm has not installed its program')
        for program in candidates:
            if not program.exists():
                continue
            try:
                version = f'Bun {_output([str(program), "--version"]).strip()}'
            except (Unavailable, OSError) as failure:
                why = Unavailable(f'it does not run here: {failure}')
                continue
            return Server('Bun', (str(program), self._script('bun.mjs')), digest(SOURCES / 'bun.mjs', version),
                          version, settling=1)
        raise why
