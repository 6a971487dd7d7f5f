"""Asking one tmux server which panes it has: the client's command line, its answer, one question in flight.

Measured on tmux 2.6 to 3.7: `list-panes -a` knows every session and pane, the formats used here are in all of
them, and no client attaches. The path of a pane is not asked for: tmux prints it as it is, so a directory name
that holds a newline could forge a line. A session name never holds a ":".
"""

import contextlib
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from watcher.events import Pane, Sessions, Unreachable
from watcher.sources.tmux.processes import current_path


@dataclass(frozen=True, slots=True)
class TmuxOptions:
    """What may be asked, and how patiently; times are in seconds.

    `sockets` (paths) and `socket_names` (as `tmux -L` takes them) replace the search for servers where any is given.
    """

    enabled: bool = True
    sockets: tuple[str, ...] = ()
    socket_names: tuple[str, ...] = ()
    timeout: float = 2.0
    slow_look: float = 30.0
    binary: str = "tmux"


@dataclass(frozen=True, slots=True)
class Server:
    """One run of one tmux server: who listens on `socket`, by SO_PEERCRED (unix(7)); `pid` is 0 where not known."""

    socket: str
    pid: int
    uid: int
    gid: int


_FORMAT = "#{pane_id}:#{pane_pid}:#{pane_dead}:#{pane_tty}:#{session_id}:#{pid}:#{start_time}:#{session_name}"
_END = b"\n:end\n"
_LIST = ("list-panes", "-a", "-F", _FORMAT, ";", "display-message", "-p", ":end")
_LINE = re.compile(rb"(%\d{1,18}):(\d{0,18}):([01]?):([^:]{0,64}):(\$\d{1,18}):(\d{1,18}):(\d{1,18}):(.*)")
_EMPTY = frozenset({"no current target", "no sessions"})
_MOST_OUTPUT = 8 * 1024 * 1024
_MOST_COMPLAINT = 200
_INHERITED = ("PATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "LC_CTYPE", "SystemRoot")


def client_environment() -> dict[str, str]:
    """What our clients inherit: no TMUX (it overrides the socket), no secrets (a client hands all to the server)."""
    return {name: os.environ[name] for name in _INHERITED if name in os.environ}


def client_argv(options: TmuxOptions, socket: str, *command: str) -> list[str]:
    """The command line of a tmux client that goes to `socket`; raises FileNotFoundError without a tmux."""
    binary = shutil.which(options.binary)
    if binary is None:
        raise FileNotFoundError(f"no program named {options.binary} on PATH")
    return [binary, "-u", "-S", socket, *command]


def parse_panes(output: bytes, path_of: Callable[[int], str]) -> Sessions | None:
    """Read the lines of `list-panes`; None where they are not what was asked for.

    `path_of` tells the current path of the terminal of a process. A line that is no record goes on with the session
    name above it: before tmux 3.2 a name could hold a newline.
    """
    panes: list[Pane] = []
    run: tuple[int, float] | None = None
    for line in output.split(b"\n"):
        match = _LINE.fullmatch(line)
        if match is None:
            if not panes:
                return None
            last = panes[-1]
            panes[-1] = replace(last, name=f"{last.name}\n{_text(line)}")
            continue
        pane, number, mark, terminal, session, server, started, name = match.groups()
        if run is None:
            run = int(server), float(started)
        pid, dead = int(number or 0), mark == b"1"
        path = "" if dead or pid == 0 else path_of(pid)
        panes.append(Pane(_text(pane), pid, dead, _text(session), _text(name), path, _text(terminal)))
    return None if run is None else Sessions(run[0], run[1], tuple(panes))


def reason_of(error: OSError) -> str:
    """Say in a few words why something failed."""
    return error.strerror.lower() if error.strerror else str(error)


def drop_to(server: Server) -> Server | None:
    """Whose rights a client of `server` must run with: None for our own.

    A tmux server can make its client write files and run commands (MSG_WRITE_OPEN, MSG_EXEC), so root never
    speaks to the server of another user as root.
    """
    return server if os.geteuid() == 0 and server.uid != 0 else None


class Question:
    """One `list-panes` in flight, to be read without blocking whenever `descriptor` is readable.

    `asked` is the monotonic time just before the question was put. Ends with `end()`, always; the process is
    gone, and reaped, when `reap()` says so.
    """

    def __init__(self, options: TmuxOptions, server: Server) -> None:
        """Put the question; raises OSError where the client cannot be started."""
        self.asked = time.monotonic()
        self._server = server
        self._output = bytearray()
        self._patience = options.timeout
        user = drop_to(server)
        argv = client_argv(options, server.socket, *_LIST)
        self._client = subprocess.Popen(  # noqa: S603 - the user's own tmux, no shell
            argv,
            bufsize=0,
            close_fds=False,  # Python's descriptors are close-on-exec: closing them again only costs
            env=client_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # a Ctrl-C at our terminal is not for the client
            user=None if user is None else user.uid,
            group=None if user is None else user.gid,
            extra_groups=None if user is None else [],
        )
        assert self._client.stdout is not None  # noqa: S101 - a pipe, by the arguments above
        assert self._client.stderr is not None  # noqa: S101 - as above
        self.descriptor = self._client.stdout.fileno()
        self._complaints = self._client.stderr.fileno()
        os.set_blocking(self.descriptor, False)
        os.set_blocking(self._complaints, False)

    def read(self) -> Sessions | Unreachable | None:
        """Take what has come; None while there is more to come.

        The closing mark is the proof that the list is whole; waiting for the client's exit status instead costs
        up to 15 ms in one case of ten.
        """
        try:
            chunk = os.read(self.descriptor, 1 << 16)
        except BlockingIOError:
            return None
        self._output += chunk
        if len(self._output) > _MOST_OUTPUT:
            return self._unreachable(f"answered with more than {_MOST_OUTPUT >> 20} MiB")
        if self._output.endswith(_END):
            return self._listed()
        return None if chunk else self._refused()

    def timed_out(self) -> Unreachable:
        """Say that no answer came in time."""
        return self._unreachable(f"did not answer in {self._patience:g} s")

    def end(self) -> None:
        """Kill the client if it is still there, and close our ends."""
        for pipe in (self._client.stdout, self._client.stderr):
            if pipe is not None:
                pipe.close()
        with contextlib.suppress(OSError):
            self._client.kill()

    def reap(self) -> bool:
        """Whether the client is gone and reaped; does not block."""
        return self._client.poll() is not None

    def _listed(self) -> Sessions | Unreachable:
        return parse_panes(bytes(self._output[: -len(_END)]), current_path) or self._unreachable(
            "gave an answer that is no list"
        )

    def _refused(self) -> Sessions | Unreachable:
        complaint = ""
        with contextlib.suppress(BlockingIOError):
            complaint = _text(os.read(self._complaints, 4096))
        complaint = complaint.strip().partition("\n")[0][:_MOST_COMPLAINT]
        if not self._output and complaint in _EMPTY:
            return Sessions(self._server.pid, 0.0, ())
        return self._unreachable(f"did not answer: {complaint or 'the client ended without a word'}")

    def _unreachable(self, what: str) -> Unreachable:
        return Unreachable(f"the tmux server on {self._server.socket} {what}")


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")
