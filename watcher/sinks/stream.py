"""Lines to a stream that is already open: stdout, be it a pipe, a socket, a terminal or a file."""

import errno
import os
import select
import stat
from collections.abc import Callable

from watcher.sinks.line import Line
from watcher.sinks.sink import SinkEnded

_PIPE_BUF = getattr(select, "PIPE_BUF", 512)
_SLICE_MS = 500
_GONE = frozenset({errno.EPIPE, errno.EBADF, errno.ECONNRESET, errno.ENXIO})


class StreamSink:
    """Writes to a descriptor that somebody else opened, and may share.

    Its flags are left alone: O_NONBLOCK would hit every process that shares it. A line that was begun is
    finished before the next, so long as the stream lives. Raises OSError where `fd` is closed.
    """

    def __init__(self, fd: int, render: Callable[[Line], bytes], *, name: str = "stdout") -> None:
        self.name = name
        self._render = render
        self._fd = os.dup(fd)
        mode = os.fstat(self._fd).st_mode
        self._direct = hasattr(os, "RWF_NOWAIT") and (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode))
        self._rest = b""
        self._poll = select.poll() if hasattr(select, "poll") else None
        if self._poll is not None:
            self._poll.register(self._fd, select.POLLOUT)

    def offer(self, line: Line) -> bool:
        """Write the line from here where the kernel takes it at once.

        The thread's turn comes only when the loop pauses, or at the interpreter's switch interval: up to 5 ms
        later. RWF_NOWAIT makes this one write non-blocking and leaves the descriptor's flags alone. Pipes and
        sockets know it since Linux 6.4 (`pwritev2(2)`); elsewhere the thread writes.
        """
        if not self._direct or self._rest:
            return False
        data = self._render(line)
        if len(data) > _PIPE_BUF:
            return False
        try:
            written = os.pwritev(self._fd, [data], -1, os.RWF_NOWAIT)
        except BlockingIOError:
            return False
        except OSError:
            self._direct = False
            return False
        self._rest = data[written:]
        return not self._rest

    def write(self, line: Line) -> None:
        """Write the line, or what is left of it."""
        if not self._rest:
            self._rest = self._render(line)
        while self._rest:
            if self._poll is not None and not self._poll.poll(_SLICE_MS):
                raise TimeoutError(errno.ETIMEDOUT, "nobody reads it")
            try:
                written = os.write(self._fd, self._rest[:_PIPE_BUF])
            except OSError as error:
                if error.errno in _GONE or (error.errno == errno.EIO and os.isatty(self._fd)):
                    raise SinkEnded(os.strerror(error.errno).lower()) from error
                raise
            self._rest = self._rest[written:]

    def reopen(self) -> None:
        """Do nothing: whoever opened the stream would have to."""

    def close(self) -> None:
        """Let go of our copy of the descriptor."""
        os.close(self._fd)
