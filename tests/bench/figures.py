"""Figures, and the table that shows them beside the peers' and beside what they are to be."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from prettytable import PrettyTable, TableStyle


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table, as it is printed: the work, our figure, what it is to be, and a peer's figure.

    `ratio` is ours over theirs; the goal is a ratio where there is one, else a limit to ours.
    """

    work: str
    ours: str
    goal: str = ""
    peer: str = ""
    ratio: str = ""

    def as_json(self) -> dict[str, Any]:
        """Give it as `make bench` keeps it."""
        return asdict(self)


def against(work: str, ours: float, peer: str, theirs: float, *, more: str = "", goal: str = "") -> Figure:
    """Compare seconds with a peer's; `more` is something else about the peer."""
    return Figure(work, f"{ours:.2f} s", goal, f"{peer}: {theirs:.2f} s{more}", f"{ours / theirs:.2f}")


def spread(seconds: Sequence[float]) -> str:
    """Say the median and the 99th percentile, in milliseconds."""
    ordered = sorted(seconds)
    return f"p50 {1000 * ordered[len(ordered) // 2]:.1f} ms, p99 {1000 * ordered[int(len(ordered) * 0.99)]:.1f} ms"


def as_table(figures: Iterable[Figure]) -> str:
    """Draw the table, in Markdown; what stands in the line above is not said again."""
    drawn = PrettyTable(["work", "lockwarden", "a peer", "ratio", "goal"], align="l")
    drawn.set_style(TableStyle.MARKDOWN)
    above = ("", "")
    for figure in figures:
        said = (figure.work, figure.ours)
        work, ours = ("", "") if said == above else said
        drawn.add_row([work, ours, figure.peer, figure.ratio, figure.goal])
        above = said
    return drawn.get_string()
