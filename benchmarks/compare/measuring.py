"""One server, one load: started, checked, measured, stopped."""
import json
import os
import resource
import selectors
import signal
import socket
import subprocess
import tempfile
import threading
import time

from machine import OtherLoad, process_cpu_seconds
from results import Failed

START_SECONDS = 20


def spawn(cpu, words, **options):
    """On one CPU from its first instruction on: it inherits where this program stands meanwhile."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {cpu})
    try:
        return subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, **options)
    finally:
        os.sched_setaffinity(0, allowed)


def discard(output):
    """Until its end, so that what a server says later never blocks it."""
    with output:
        while os.read(output.fileno(), 1 << 16):
            pass


class Running:
    """A server on a CPU of its own; its port once it listens. Always stopped, by its process."""

    def __init__(self, server, arguments, cpu):
        self.server = server
        words = [*server.command, *arguments]
        self.port = None
        if any('%p' in word for word in words):
            with socket.socket() as probe:
                probe.bind(('127.0.0.1', 0))
                self.port = probe.getsockname()[1]
            words = [word.replace('%p', str(self.port)) for word in words]
        self.errors = tempfile.TemporaryFile()
        try:
            self.process = spawn(cpu, words, stderr=self.errors)
        except OSError as error:
            self.errors.close()
            raise Failed(f'{server.name} does not start: {error}') from None

    def __enter__(self):
        try:
            if self.port is None:
                self.port = self._announced_port()
            else:
                self._wait_until_it_accepts()
        except BaseException:
            self.__exit__()
            raise
        threading.Thread(target=discard, args=(self.process.stdout,), daemon=True).start()
        return self

    def __exit__(self, *_):
        for end, patience in ((signal.SIGTERM, 3), (signal.SIGKILL, None)):
            if self.process.poll() is None:
                self.process.send_signal(end)
                try:
                    self.process.wait(patience)
                except subprocess.TimeoutExpired:
                    pass
        self.errors.close()

    def complaint(self):
        self.errors.seek(0)
        return self.errors.read()[-500:].decode(errors='replace').strip()

    def _announced_port(self):
        """The last number of the line that says "listening on"."""
        deadline = time.monotonic() + START_SECONDS
        said = b''
        output = self.process.stdout.fileno()
        with selectors.DefaultSelector() as selector:
            selector.register(output, selectors.EVENT_READ)
            while time.monotonic() < deadline:
                if not selector.select(deadline - time.monotonic()):
                    break
                read = os.read(output, 4096)
                said += read
                for line in said.split(b'\n')[:-1]:
                    if b'listening on ' in line:
                        return int(line.rpartition(b':')[2].split()[0])
                if not read:
                    break
        raise Failed(f'{self.server.name} does not listen: {self.complaint()}')

    def _wait_until_it_accepts(self):
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                socket.create_connection(('127.0.0.1', self.port), 1).close()
                return
            except OSError:
                time.sleep(0.02)
        raise Failed(f'{self.server.name} does not listen: {self.complaint()}')


class Laboratory:
    """Measures servers with kephas-bench.

    `busy` is the share of the two CPUs that others may have during a run; None accepts whatever they take. A run that
    was disturbed is repeated at most `repeats` times.
    """

    def __init__(self, load_program, cpus, seconds, warmup, busy, repeats, progress):
        self.load_program = str(load_program)
        self.server_cpu, self.load_cpu = cpus
        self.seconds = seconds
        self.warmup = warmup
        self.busy = busy
        self.repeats = repeats
        self.progress = progress
        self.checked = set()
        self.discarded = 0
        self._certificate = None

    def measure(self, row, server):
        """The figures, or None if every attempt was disturbed. Raises Failed."""
        if (row.name, server.name) not in self.checked:
            self._check(row, server)
            self.checked.add((row.name, server.name))
        for _ in range(1 + self.repeats):
            warmup = self.warmup + server.settling
            figures = self._run(row, server, ('--seconds', str(self.seconds), '--warmup', str(warmup)))
            if figures['per_second'] == 0:  # not even once: of such a run no ratio can be taken
                self.discarded += 1
                self.progress(f'{server.name}: nothing was answered in the measured time, discarded')
                continue
            if self.busy is None or figures['others'] <= self.busy:
                return figures
            self.discarded += 1
            self.progress(f'{server.name}: others had {figures["others"]:.0%} of the CPUs, discarded')
        return None

    def _check(self, row, server):
        """Every byte of every reply, and their order if the server keeps it."""
        load = [part if part != '--rate' else None for part in row.load_for(server)]
        while None in load:  # a number of messages is sent without a schedule
            at = load.index(None)
            del load[at:at + 2]
        self._run(row, server, ('--messages', str(row.check), '--verify',
                                *(() if server.ordered or not row.any_order else ('--unordered',))), load)

    def _run(self, row, server, options, load=None):
        arguments = [*row.arguments_of(server)]
        if row.tls:
            arguments += ['--tls-cert', f'{self.certificate}/cert.pem', '--tls-key', f'{self.certificate}/key.pem']
        with Running(server, arguments, self.server_cpu) as running:
            pid = running.process.pid
            command = [self.load_program, f'{"wss" if row.tls else "ws"}://127.0.0.1:{running.port}/ws', '--json',
                       '--pid', str(pid), *(load if load is not None else row.load_for(server)), *options,
                       *(['--insecure'] if row.tls else [])]
            try:
                before = own_seconds(pid)
                others = OtherLoad({self.server_cpu, self.load_cpu})
                code, said, complaint = self._load(command)
                share = others.share(own_seconds(pid) - before)
            except subprocess.TimeoutExpired:
                raise Failed(f'{row.name}, {server.name}: the load does not end') from None
            except OSError:  # its clock is gone
                raise Failed(f'{row.name}, {server.name}: the server has ended: {running.complaint()}') from None
            if code != 0:
                why = ' '.join(filter(None, (complaint.strip()[-300:], running.complaint())))
                raise Failed(f'{row.name}, {server.name}: {why}')
            report = json.loads(said)
        return {'cpu_us': report['server_cpu_us_per_message'], 'p50_us': report['p50_us'], 'p99_us': report['p99_us'],
                'per_second': report['messages_per_second'], 'resident': report['server_resident_bytes'],
                'others': round(share, 4), 'time': int(time.time())}

    def _load(self, command):
        process = spawn(self.load_cpu, command, stderr=subprocess.PIPE, text=True)
        try:
            said, complaint = process.communicate(timeout=self.seconds + self.warmup + 60)
        except BaseException:
            process.kill()
            process.communicate()
            raise
        return process.returncode, said, complaint

    @property
    def certificate(self):
        """A folder with one that is made for this run."""
        if self._certificate is None:
            folder = tempfile.TemporaryDirectory()
            try:
                subprocess.run(['openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256',
                                '-nodes', '-days', '2', '-subj', '/CN=localhost', '-keyout', f'{folder.name}/key.pem',
                                '-out', f'{folder.name}/cert.pem'], check=True, capture_output=True, text=True)
            except FileNotFoundError:
                raise Failed('there is no openssl to make a certificate with') from None
            except subprocess.CalledProcessError as error:
                raise Failed(f'openssl: {error.stderr.strip()}') from None
            self._certificate = folder
        return self._certificate.name


def own_seconds(server):
    """CPU time of the server, of this program and of what it has waited for: the load."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return process_cpu_seconds(server) + children.ru_utime + children.ru_stime + time.process_time()
