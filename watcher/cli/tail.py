"""`lockwarden tail`: the log, for a person."""

import os
import select
import stat
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import click
import msgspec

from rules.model import Kind
from watcher.cli.firing import Firing
from watcher.cli.follow import follow, read
from watcher.errors import JobError, UsageError, one_line
from watcher.records import SERVICE
from watcher.sinks.console import Console, wants_colour
from watcher.sinks.line import Fields

_STDIN = 0
_PAUSE_MS = 200
"""How long a line that was added may wait to be shown."""

_DECODER = msgspec.json.Decoder(Fields)


@dataclass(frozen=True, slots=True)
class _Filters:
    """What a person wants to see: alerts of these kinds, and lines about workers that a glob names."""

    kinds: frozenset[str]
    worker: str | None

    def __bool__(self) -> bool:
        return bool(self.kinds) or self.worker is not None

    def let_through(self, fields: Fields) -> bool:
        """Say whether a line is wanted. Those of the watcher are: they tell whether silence means anything."""
        if str(fields["event"]).startswith("watcher."):
            return not self or fields["event"] != "watcher.heartbeat"
        about = [str(fields[name]) for name in ("worker", "other_worker") if name in fields]
        return (not self.kinds or fields.get("kind") in self.kinds) and (
            self.worker is None or any(fnmatchcase(worker, self.worker) for worker in about)
        )


@click.command()
@click.argument("file", default="-", metavar="[FILE|-]", type=click.Path(allow_dash=True))
@click.option("--follow", "follows", is_flag=True, help="Go on with what is added, through rotation, until Ctrl-C.")
@click.option("--kind", "kinds", multiple=True, metavar="K", help="Only alerts of this kind, e.g. stale. Repeatable.")
@click.option("--worker", metavar="GLOB", help="Only what is about such workers: 'rig/*' is all below rig.")
@click.option("--firing", "only_firing", is_flag=True, help="Only what still fires at the end, and since when.")
def command(file: str, kinds: tuple[str, ...], worker: str | None, *, follows: bool, only_firing: bool) -> None:
    """Read a log in the json format, from FILE or from stdin, as a person: a line a record.

    --kind and --worker leave what the watcher says of itself, but for its heartbeats: it tells whether silence
    means that all is well. Lines that are not the watcher's are shown as they are, where nothing is filtered.

    Example: lockwarden tail /var/log/lockwarden.json --follow --kind stale
    """
    if only_firing and follows:
        raise UsageError("tail: --firing is about the end of a log: leave out --follow, or use status --live")
    if file == "-" and os.isatty(_STDIN):
        raise UsageError("tail: nothing to read: name the file that `lockwarden watch --log-file` writes")
    for kind in sorted(set(kinds).difference(Kind)):
        _note(f"--kind {kind}: only a rule of another package has that kind; ours are {', '.join(Kind)}")
    filters = _Filters(frozenset(kinds), worker)
    console = Console(colour=wants_colour(sys.stdout.fileno(), os.environ))
    batches = _batches(file, follows=follows)
    if only_firing:
        _print(console(fields) for fields in _firing(batches) if filters.let_through(fields))
        return
    for lines in batches:
        _print(_rendered(lines, filters, console))


def _rendered(lines: Iterable[str], filters: _Filters, console: Console) -> Iterator[str]:
    for line in lines:
        fields = _fields(line)
        if fields is None:
            if not filters:
                yield one_line(line)
        elif filters.let_through(fields):
            yield console(fields)


def _firing(batches: Iterable[list[str]]) -> list[Fields]:
    firing = Firing()
    for lines in batches:
        for line in lines:
            if (fields := _fields(line)) is not None:
                firing.take(fields)
    return firing.lines()


def _fields(line: str) -> Fields | None:
    """Read a line of the log; None where it is none of ours."""
    try:
        fields = _DECODER.decode(line)
    except ValueError:
        return None
    return fields if fields.get("service") == SERVICE and isinstance(fields.get("event"), str) else None


def _batches(file: str, *, follows: bool) -> Iterator[list[str]]:
    """Read the lines of a file or of stdin, as many at a time as there are."""
    try:
        if file == "-":
            yield from read(_STDIN)
        elif follows and _can_be_followed(file):
            yield from follow(file, _pause, lambda trouble: _note(f"log: {file}: {trouble}: waiting for it"))
        else:
            fd = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
            try:
                yield from read(fd)
            finally:
                os.close(fd)
    except BrokenPipeError:  # that is stdout, and no trouble of the log
        raise
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise JobError(f"log: {file}: {reason}; name the file that `lockwarden watch --log-file` writes") from None


def _can_be_followed(file: str) -> bool:
    """Say whether a file can be added to: it may be read, or made, and is no pipe.

    Raises:
        OSError: it cannot be read, and waiting would not change that.
    """
    path = Path(file)
    try:
        is_regular = stat.S_ISREG(path.stat().st_mode)
    except FileNotFoundError:
        # A rotator may have taken it: the watcher makes it anew with its next line. It does not make directories.
        if not path.parent.is_dir():
            raise
        return True
    if is_regular:
        path.open("rb").close()
    return is_regular


def _pause() -> None:
    """Wait a moment.

    Raises:
        BrokenPipeError: the reader of our stdout has gone meanwhile. Without a new line, no write would tell.
    """
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    if poll.poll(_PAUSE_MS):
        raise BrokenPipeError


def _print(lines: Iterable[str]) -> None:
    """Print lines at once, in the encoding of stdout, with what that cannot say spelled out."""
    text = "".join(f"{line}\n" for line in lines)
    sys.stdout.buffer.write(text.encode(sys.stdout.encoding, "backslashreplace"))
    sys.stdout.flush()


def _note(text: str) -> None:
    print(f"lockwarden: {one_line(text)}", file=sys.stderr)
