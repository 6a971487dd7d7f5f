"""Figures, and the table that shows them beside what they are to be."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from prettytable import PrettyTable, TableStyle


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table: the work, what was measured, and the goal, as they are printed."""

    work: str
    measured: str
    goal: str = ""

    def as_json(self) -> dict[str, Any]:
        """Give it as `make bench` keeps it."""
        return asdict(self)


def spread(seconds: Sequence[float]) -> str:
    """Say the median and the 99th percentile, in milliseconds."""
    ordered = sorted(seconds)
    return f"p50 {1000 * ordered[len(ordered) // 2]:.1f} ms, p99 {1000 * ordered[int(len(ordered) * 0.99)]:.1f} ms"


def as_table(figures: Iterable[Figure]) -> str:
    """Draw the table, in Markdown."""
    drawn = PrettyTable(["work", "measured", "goal"], align="l")
    drawn.set_style(TableStyle.MARKDOWN)
    drawn.add_rows([[figure.work, figure.measured, figure.goal] for figure in figures])
    return drawn.get_string()
