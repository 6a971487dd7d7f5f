"""Tables for people: columns in plain text, safe to print."""

from collections.abc import Iterable, Sequence

from prettytable import PrettyTable

from watcher.errors import one_line

_SCALES = ((86400.0, "d"), (3600.0, "h"), (60.0, "m"))


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Lay out rows under a head, columns aligned to the left; what is not printable in them is escaped."""
    drawn = PrettyTable(list(head), border=False, align="l", padding_width=0, right_padding_width=2)
    drawn.add_rows([[one_line(cell) for cell in row] for row in rows])
    return "\n".join(line.rstrip() for line in drawn.get_string().splitlines())


def age(seconds: float) -> str:
    """Say for how long something has been, in its largest unit: `45s`, `3m`, `2h`, `10d`."""
    for scale, unit in _SCALES:
        if seconds >= scale:
            return f"{seconds / scale:.0f}{unit}"
    return f"{max(0.0, seconds):.0f}s"


def plural(count: int, noun: str, nouns: str = "") -> str:
    """Say how many there are: `1 lock`, `2 locks`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {nouns or f'{noun}s'}"
