import math
import random
import unittest

from figures import Summary, interval, median, short, verdict


class Medians(unittest.TestCase):
    def test_is_the_middle_value_or_the_mean_of_two(self):
        self.assertEqual(median([3, 1, 2]), 2)
        self.assertEqual(median([4, 1, 3, 2]), 2.5)
        self.assertEqual(median([7]), 7)


class Intervals(unittest.TestCase):
    def test_reaches_between_the_ranks_of_the_binomial_distribution(self):
        # ranks as tables of the sign test have them
        for count, rank in ((6, 1), (8, 1), (9, 2), (12, 3), (15, 4), (20, 6), (25, 8), (50, 18)):
            self.assertEqual(interval(range(1, count + 1)), (rank, count + 1 - rank), count)

    def test_does_not_depend_on_the_order(self):
        values = [math.sin(i) for i in range(15)]
        shuffled = values[:]
        random.Random(1).shuffle(shuffled)
        self.assertEqual(interval(values), interval(shuffled))

    def test_of_few_values_is_their_range(self):
        for count in range(1, 7):
            self.assertEqual(interval(range(1, count + 1)), (1, count))

    def test_holds_the_median_as_often_as_it_says(self):
        source = random.Random(42)
        held = 0
        for _ in range(2000):
            low, high = interval([source.expovariate(1) for _ in range(15)])
            held += low <= math.log(2) <= high
        self.assertGreater(held, 0.95 * 2000)
        self.assertLess(held, 0.98 * 2000)  # 0.965 is what 15 values come to


class Verdicts(unittest.TestCase):
    def test_met_by_the_median_missed_by_the_whole_interval(self):
        ratio = Summary.of([1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6])
        self.assertEqual(verdict(ratio, 1.3), 'met')
        self.assertEqual(verdict(ratio, 1.2), 'open')
        self.assertEqual(verdict(ratio, 1.0), 'open')
        self.assertEqual(verdict(ratio, 0.99), 'missed')

    def test_nothing_is_certain_after_too_few_runs(self):
        self.assertEqual(verdict(Summary.of([1.0] * 5), 2), 'open')
        self.assertEqual(verdict(Summary.of([1.0] * 5), 0.5), 'open')
        self.assertEqual(verdict(Summary.of([1.0] * 6), 2), 'met')


class Digits(unittest.TestCase):
    def test_three_of_them(self):
        for value, text in ((0, '0'), (0.254, '0.25'), (1.006, '1.01'), (9.994, '9.99'), (9.996, '10.0'),
                            (99.94, '99.9'), (99.96, '100'), (1234.5, '1234')):
            self.assertEqual(short(value), text)


if __name__ == '__main__':
    unittest.main()
