"""A page of text that is drawn again and again, in the alternate screen of a terminal."""

import os
import select
import signal
import termios
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

# xterm's control sequences: alternate screen, cursor, automatic wrapping, synchronized output.
_ENTER = "\x1b[?1049h\x1b[?25l\x1b[?7l"
_LEAVE = "\x1b[?7h\x1b[?25h\x1b[?1049l"
_BEGIN = "\x1b[?2026h\x1b[H"
_END = "\x1b[J\x1b[?2026l"
_NEXT = "\x1b[K\r\n"

_EVERY = 1.0
_ENOUGH = frozenset(b"qQ\x03\x04")
"""Keys to leave by: q, Ctrl-C, Ctrl-D."""

_HELP = "q or Ctrl-C: leave"


class Live:
    """Draws on a terminal: `keys` and `screen` are its descriptors, for reading and for writing."""

    def __init__(self, keys: int, screen: int, encoding: str = "utf-8") -> None:
        self._keys = keys
        self._screen = screen
        self._encoding = encoding

    def show(self, draw: Callable[[], list[str]]) -> None:
        """Show what `draw` gives, lines of printable text, each second and at each key, until a person leaves.

        The terminal is put back as it was however this ends, short of a SIGKILL. Call it in the main thread.
        """
        with _signals() as wake, self._alternate_screen():
            while True:
                self._paint(draw())
                ready, _, _ = select.select([self._keys, wake], [], [], _EVERY)
                if wake in ready:
                    os.read(wake, 4096)
                if self._keys in ready and self._is_enough():
                    return

    def _is_enough(self) -> bool:
        keys = os.read(self._keys, 4096)
        return not keys or not _ENOUGH.isdisjoint(keys)

    def _paint(self, lines: list[str]) -> None:
        """Draw one page over the one before it, in one write: nothing is blanked first, so nothing flickers."""
        columns, rows = os.get_terminal_size(self._screen)
        room = max(1, rows - 2)
        if len(lines) > room:
            lines = [*lines[: room - 1], f"... and {len(lines) - room + 1} more lines"]
        page = [*lines, "", _HELP][-rows:]
        # One column is left free: in the last, erasing the rest of the line would erase the last character.
        self._write(_BEGIN + _NEXT.join(line[: columns - 1] for line in page) + "\x1b[K" + _END)

    def _write(self, text: str) -> None:
        data = text.encode(self._encoding, "backslashreplace")
        while data:
            data = data[os.write(self._screen, data) :]

    @contextmanager
    def _alternate_screen(self) -> Iterator[None]:
        before = termios.tcgetattr(self._keys)
        try:
            tty.setcbreak(self._keys)
            mode = termios.tcgetattr(self._keys)
            # Ctrl-C is a key like q, and Ctrl-Z none: neither may leave the terminal in the middle of a page.
            mode[3] &= ~termios.ISIG
            termios.tcsetattr(self._keys, termios.TCSANOW, mode)
            self._write(_ENTER)
            yield
        finally:
            # The terminal may be gone; what can be put back is.
            with suppress(OSError):
                self._write(_LEAVE)
            with suppress(termios.error):
                termios.tcsetattr(self._keys, termios.TCSANOW, before)


@contextmanager
def _signals() -> Iterator[int]:
    """Have a resize end the wait, and TERM and HUP end the program in order; gives a descriptor to wait for."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    handlers = {
        signal.SIGWINCH: signal.signal(signal.SIGWINCH, lambda *_: None),
        signal.SIGTERM: signal.signal(signal.SIGTERM, _end),
        signal.SIGHUP: signal.signal(signal.SIGHUP, _end),
    }
    descriptor = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    try:
        yield reader
    finally:
        signal.set_wakeup_fd(descriptor)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        os.close(reader)
        os.close(writer)


def _end(number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)
