"""Medians, their intervals, and tables that read well as text and as Markdown."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb
from statistics import median


@dataclass(frozen=True)
class Interval:
    """A median and the order statistics around it."""

    middle: float
    low: float
    high: float

    def text(self, digits: int = 2) -> str:
        return f"{self.middle:.{digits}f} ({self.low:.{digits}f}-{self.high:.{digits}f})"


def median_interval(values: Sequence[float], confidence: float = 0.9) -> Interval:
    """The median with the narrowest symmetric interval of order statistics that covers it
    with at least `confidence`; all values when there are too few (below five).

    No assumption on the distribution: how many of n values are below the true median is
    binomial.
    """
    ordered = sorted(values)
    count = len(ordered)
    cut = 0
    while cut + 1 < count / 2 and _coverage(count, cut + 1) >= confidence:
        cut += 1
    return Interval(median(ordered), ordered[cut], ordered[count - 1 - cut])


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that a share of the values does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table with aligned columns: first column left, the others right."""
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        first = cells[0].ljust(widths[0])
        others = [cell.rjust(width) for cell, width in zip(cells[1:], widths[1:])]
        return "| " + " | ".join([first, *others]) + " |"

    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join([line(head), line(rule), *(line(row) for row in rows)])


def mebibytes(count: float) -> str:
    return f"{count / 2**20:.1f}"


def _coverage(count: int, cut: int) -> float:
    outside = sum(comb(count, below) for below in range(cut + 1))
    return 1 - 2 * outside / 2**count
