"""A command in a process of its own that waits to be let go, and whom signals are passed on to."""

import errno
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import NoReturn, Self

_NOT_FOUND, _NOT_RUNNABLE = 127, 126
_KILLED = 128
"""How a shell tells in its exit code why there is none of the command."""

_STOPS = frozenset({signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU})
_PASSED = frozenset(
    {
        *(signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2),
        *(signal.SIGWINCH, signal.SIGCONT, *_STOPS),
    }
)
_AWAITED = _PASSED | {signal.SIGCHLD}

_OF_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)
"""Signals that Python ignores, which the command would inherit."""


class Child:
    """A forked process that becomes `argv` when it is told to `go`, and ends where it never is.

    It stays in our process group, so that the terminal is its own. While it is there, the signals that are to be
    passed on wait until `wait` takes them. Not to be used beside threads: it forks.
    """

    def __init__(self, argv: Sequence[str]) -> None:
        self._argv = list(argv)
        self.pid = 0

    def __enter__(self) -> Self:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, _AWAITED)
        gate, self._gate = os.pipe()
        self._trouble, trouble = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            os.close(self._gate)
            self._become(gate, trouble)
        os.close(gate)
        os.close(trouble)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close_gate()
        os.close(self._trouble)
        if self.pid:
            os.waitpid(self.pid, 0)
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)

    def go(self) -> OSError | None:
        """Let it become the command; give what hindered that, if anything did."""
        with suppress(BrokenPipeError):  # it was killed while it waited
            os.write(self._gate, b"g")
        self._close_gate()
        number = os.read(self._trouble, 16)  # ends when exec closes the other end
        return OSError(int(number), os.strerror(int(number))) if number else None

    def wait(self) -> int:
        """Pass signals on until it has ended; give its exit code, 128 and the number of the signal that killed it.

        What a key on the terminal sends has reached it already, but for SIGHUP, which may have gone to us alone.
        """
        while True:
            number, from_terminal = _next_signal()
            if number == signal.SIGCHLD:
                code = self._reap()
                if code is not None:
                    return code
            elif not from_terminal or number == signal.SIGHUP:
                os.kill(self.pid, number)

    def _reap(self) -> int | None:
        """Take in what became of it; where a terminal stopped it, stop too, for that is what a shell waits for."""
        while True:
            pid, status = os.waitpid(self.pid, os.WNOHANG | os.WUNTRACED)
            if not pid:
                return None
            if os.WIFSTOPPED(status):
                if os.WSTOPSIG(status) in _STOPS:
                    os.kill(os.getpid(), signal.SIGSTOP)
                continue
            self.pid = 0
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else _KILLED - code

    def _close_gate(self) -> None:
        if self._gate >= 0:
            os.close(self._gate)
            self._gate = -1

    def _become(self, gate: int, trouble: int) -> NoReturn:
        code = _NOT_RUNNABLE
        try:
            if os.read(gate, 1):
                for number in _OF_PYTHON:
                    signal.signal(number, signal.SIG_DFL)
                if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
                    signal.signal(signal.SIGINT, signal.SIG_DFL)
                signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
                os.execvp(self._argv[0], self._argv)  # noqa: S606 - no shell is what is wanted
        except OSError as error:
            code = _NOT_FOUND if error.errno in {errno.ENOENT, errno.ENOTDIR} else _NOT_RUNNABLE
            os.write(trouble, str(error.errno).encode())
        finally:
            os._exit(code)


def _next_signal() -> tuple[int, bool]:
    """Wait for a signal; say whether it came from a terminal, whose keys send it to the whole foreground."""
    if sys.platform == "darwin":
        number = signal.sigwait(_AWAITED)
        return number, number in {signal.SIGINT, signal.SIGQUIT, signal.SIGWINCH, *_STOPS} and sys.stdin.isatty()
    received = signal.sigwaitinfo(_AWAITED)
    return received.si_signo, received.si_code > 0  # sigaction(2): SI_USER is 0, what the kernel sends is more
