import os
import time
import unittest

from machine import busy_ticks, choose_cpus, process_cpu_seconds

STAT = '''cpu  100 20 30 4000 5 {irq} 40 6 0 0
cpu0 60 10 20 2000 5 {irq} 30 4 0 0
cpu1 40 10 10 2000 0 0 10 2 0 0
intr 1 2 3
'''


class Cpus(unittest.TestCase):
    def test_server_and_load_have_cores_of_their_own(self):
        pairs = lambda cpu: {cpu, cpu ^ 1}  # two threads per core
        self.assertEqual(choose_cpus({0, 1, 2, 3}, pairs), (0, 2))
        self.assertEqual(choose_cpus({0, 1}, lambda cpu: {cpu}), (0, 1))
        self.assertEqual(choose_cpus({3, 5}, pairs), (3, 5))

    def test_makes_do_with_what_there_is(self):
        self.assertEqual(choose_cpus({0, 1}, lambda cpu: {0, 1}), (0, 1))
        self.assertEqual(choose_cpus({4}, lambda cpu: {4}), (4, 4))


class Accounting(unittest.TestCase):
    def test_interrupts_count_unless_the_kernel_keeps_them_apart_from_processes(self):
        self.assertEqual(busy_ticks({0}, STAT.format(irq=0)), 60 + 10 + 20 + 4 + 30)
        self.assertEqual(busy_ticks({0}, STAT.format(irq=7)), 60 + 10 + 20 + 4)
        self.assertEqual(busy_ticks([0, 1, 1], STAT.format(irq=0)), 124 + 72)

    def test_the_clock_of_a_process_runs_while_it_works(self):
        before = process_cpu_seconds(os.getpid())
        own = time.process_time()
        while time.process_time() < own + 0.02:
            pass
        self.assertAlmostEqual(process_cpu_seconds(os.getpid()) - before, 0.02, delta=0.02)


if __name__ == '__main__':
    unittest.main()
