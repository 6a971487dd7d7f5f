"""The end of a log file, read back: whether a line that is in doubt is there after all."""

import os
import stat
from functools import cached_property

from rules.alerts import Step

_MOST = 1 << 20
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY


class LogTail:
    """Knows the last MiB of the log at `path` as it was when first asked, in any format that has the episode.

    To be asked only about a log that is the only one: another may lack what this one has.
    """

    def __init__(self, path: str) -> None:
        self._path = path

    def __call__(self, step: Step, episode: str) -> bool:
        """Say whether the line for a step of an episode is there, whole; False also where that cannot be known."""
        event = f"alert.{step}".encode()
        return any(event in line for line in self._lines if episode.encode() in line)

    @cached_property
    def _lines(self) -> list[bytes]:
        """The lines about alerts. What is after the last newline was never finished."""
        try:
            descriptor = os.open(self._path, _FLAGS)
        except OSError:
            return []
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                return []
            data = os.pread(descriptor, _MOST, max(0, found.st_size - _MOST))
        except OSError:
            return []
        finally:
            os.close(descriptor)
        return [line for line in data.split(b"\n")[:-1] if b"alert." in line]
