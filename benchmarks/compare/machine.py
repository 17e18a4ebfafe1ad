"""The machine: its cores, and what else it does meanwhile."""
import os
import platform
import time
from pathlib import Path


def model():
    for line in Path('/proc/cpuinfo').read_text().splitlines():
        if line.startswith('model name'):
            return line.split(':', 1)[1].strip()
    return platform.machine()


def description():
    return f'{model()}, {os.cpu_count()} CPUs, Linux {platform.release()}'


def choose_cpus(allowed=None, siblings=None):
    """One for the server and one for the load, on different cores if there are two; the same if there is one CPU."""
    allowed = sorted(os.sched_getaffinity(0) if allowed is None else allowed)
    siblings = siblings or _siblings
    server = allowed[0]
    others = [cpu for cpu in allowed[1:] if cpu not in siblings(server)] or allowed[1:] or [server]
    return server, others[0]


def _siblings(cpu):
    path = Path(f'/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list')
    found = set()
    for part in path.read_text().strip().split(',') if path.exists() else []:
        first, _, last = part.partition('-')
        found.update(range(int(first), int(last or first) + 1))
    return found


def process_cpu_seconds(pid):
    """The scheduler's nanoseconds of all threads: the clock that clock_getcpuclockid(3) names."""
    return time.clock_gettime((~pid << 3) | 2)


def busy_ticks(cpus, text=None):
    """How long these CPUs have worked for anybody, or were taken away by the hypervisor.

    A kernel that keeps the time of interrupts apart does not count it as a process's, so it must not be counted here
    either. One that does not only finds soft interrupts at its ticks, and never a hard one.
    """
    lines = (text if text is not None else Path('/proc/stat').read_text()).splitlines()
    fields = {line.split()[0]: [int(n) for n in line.split()[1:9]] for line in lines if line.startswith('cpu')}
    interrupts_apart = fields['cpu'][5] > 0
    total = 0
    for cpu in set(cpus):
        user, nice, system, _idle, _iowait, irq, softirq, steal = fields[f'cpu{cpu}']
        total += user + nice + system + steal + (0 if interrupts_apart else irq + softirq)
    return total


class OtherLoad:
    """What others had of these CPUs between its making and `share()`."""

    def __init__(self, cpus):
        self.cpus = set(cpus)
        self.busy = busy_ticks(self.cpus)
        self.begin = time.monotonic()

    def share(self, own_seconds):
        """Of the time, on average over the CPUs; `own_seconds` is the CPU time that was not others'."""
        elapsed = (time.monotonic() - self.begin) * len(self.cpus)
        busy = (busy_ticks(self.cpus) - self.busy) / os.sysconf('SC_CLK_TCK')
        return max(0.0, busy - own_seconds) / elapsed if elapsed > 0 else 0.0
