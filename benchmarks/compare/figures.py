"""What the figures of many runs come to."""
from dataclasses import dataclass
from math import comb


def median(values):
    """The middle one, or the mean of the two in the middle."""
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def interval(values, confidence=0.95):
    """Holds the true median with at least this probability, whatever the distribution: it reaches from the k-th least
    to the k-th largest value, with the largest k for which a binomial distribution allows it. Fewer than six values
    cannot say so much with 95 %: then it is their whole range.
    """
    ordered = sorted(values)
    count = len(ordered)
    outside = 0.0
    k = 0
    while k < count // 2:
        outside += 2 * comb(count, k) / 2**count
        if outside > 1 - confidence:
            break
        k += 1
    k = max(k, 1)
    return ordered[k - 1], ordered[-k]


@dataclass(frozen=True)
class Summary:
    """A median with its interval, and the values it is of."""
    median: float
    low: float
    high: float
    values: tuple

    @classmethod
    def of(cls, values):
        values = tuple(values)
        return cls(median(values), *interval(values), values)


def verdict(ratio, bar):
    """"met", "missed" if the whole interval is above the bar, and "open" in between or after too few runs to tell."""
    if len(ratio.values) < 6:
        return 'open'
    if ratio.median <= bar:
        return 'met'
    return 'missed' if ratio.low > bar else 'open'


def short(value):
    """Three digits."""
    if value == 0:
        return '0'
    if value >= 99.95:
        return f'{value:.0f}'
    return f'{value:.1f}' if value >= 9.995 else f'{value:.2f}'
