"""A line on stderr while a large workspace is looked at from a terminal."""

import asyncio
import sys
import threading
import time
from types import TracebackType
from typing import Protocol, Self

_EVERY = 0.2
"""Seconds between two looks; a small workspace is armed before the first."""


class Progressing(Protocol):
    """What can say how far it is: the number of directories so far, None once it is through."""

    def progress(self) -> int | None:
        """Say how far it is."""


class Progress:
    """Shows how far `what` is, until it is through; nothing where stderr is no terminal."""

    def __init__(self, what: Progressing) -> None:
        self._what = what
        self._timer: asyncio.TimerHandle | None = None
        self._shown = False

    def __enter__(self) -> Self:
        if _is_watched():
            self._timer = asyncio.get_running_loop().call_later(_EVERY, self._show)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._wipe()

    def _show(self) -> None:
        directories = self._what.progress()
        if directories is None:
            self._wipe()
            return
        _write(f"{directories:,} directories")
        self._shown = True
        self._timer = asyncio.get_running_loop().call_later(_EVERY, self._show)

    def _wipe(self) -> None:
        if self._shown:
            _write_nothing()
            self._shown = False


class Elapsing:
    """Shows for how long a look has gone on that keeps its thread busy; nothing where stderr is no terminal."""

    def __init__(self) -> None:
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        if _is_watched():
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        began = time.monotonic()
        shown = False
        while not self._over.wait(_EVERY):
            shown = True
            _write(f"{time.monotonic() - began:.0f} s")
        if shown:
            _write_nothing()


def _is_watched() -> bool:
    return sys.stderr is not None and sys.stderr.isatty()


def _write(how_far: str) -> None:
    # The cursor goes back, so that a line of the log that comes before we can wipe takes our place.
    sys.stderr.write(f"lockwarden: looking at the workspace: {how_far}\x1b[K\r")
    sys.stderr.flush()


def _write_nothing() -> None:
    sys.stderr.write("\x1b[K")
    sys.stderr.flush()
