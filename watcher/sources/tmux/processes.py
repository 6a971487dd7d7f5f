"""The processes that are tmux servers, and the sockets that processes listen on, as the system tells them."""

import contextlib
import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

_LISTENS = 0x00010000
_COLUMNS = 8
_EXITING = 0x00000004
_SERVER = re.compile(rb"tmux[^:]*: s")
_SOCKET = re.compile(r"socket:\[(\d+)\]")


@dataclass(frozen=True, slots=True)
class ServerProcess:
    """A process that is a tmux server; `uid` is the effective one."""

    pid: int
    uid: int

    def listening_on(self, listening: Mapping[int, str]) -> list[str]:
        """Which of the `listening` sockets are its own, where its descriptors may be read (proc(5)); else none."""
        paths: list[str] = []
        with contextlib.suppress(OSError):
            for descriptor in Path(f"/proc/{self.pid}/fd").iterdir():
                with contextlib.suppress(OSError):
                    match = _SOCKET.fullmatch(str(descriptor.readlink()))
                    if match is not None and int(match[1]) in listening:
                        paths.append(listening[int(match[1])])
        return paths


def listening_sockets() -> dict[int, str]:
    """Return the path sockets that are listened on in our network namespace: inode -> path, as it was bound.

    From /proc/net/unix (proc(5)); empty where there is none.
    """
    sockets: dict[int, str] = {}
    with contextlib.suppress(OSError):
        for line in Path("/proc/net/unix").read_bytes().split(b"\n")[1:]:
            fields = line.split(None, _COLUMNS - 1)
            if len(fields) == _COLUMNS and fields[7].startswith(b"/") and int(fields[3], 16) & _LISTENS:
                sockets[int(fields[6])] = os.fsdecode(fields[7])
    return sockets


def server_processes() -> list[ServerProcess]:
    """Find every tmux server in the process table, by the name that it gives itself (`tmux: server`).

    Zombies, and processes past exit(2), are not there. Raises OSError where there is no process table to be read.
    """
    if sys.platform != "linux":
        return list(_adopted_by_init())
    found: list[ServerProcess] = []
    for pid in _named(_SERVER):
        with contextlib.suppress(OSError):
            if _is_running(pid):
                found.append(ServerProcess(pid, Path(f"/proc/{pid}").stat().st_uid))
    return found


def current_path(pid: int) -> str:
    """Return where the terminal of `pid` is, as tmux tells it: where its foreground process group is.

    Empty where that may not be known.
    """
    with contextlib.suppress(OSError, ValueError, IndexError):
        if sys.platform != "linux":
            with contextlib.suppress(psutil.Error):
                return psutil.Process(pid).cwd()
            return ""
        foreground = _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()[5]
        with contextlib.suppress(OSError):
            return os.readlink(f"/proc/{int(foreground)}/cwd")  # noqa: PTH115 - one for each pane: no Path needed
        return os.readlink(f"/proc/{pid}/cwd")  # noqa: PTH115 - as above
    return ""


def _named(name: re.Pattern[bytes]) -> Iterator[int]:
    """Walk the process table: 2 us a process, so no Path objects here."""
    for entry in os.listdir("/proc"):  # noqa: PTH208 - see above
        if entry.isdigit():
            with contextlib.suppress(OSError):
                if name.match(_read(f"/proc/{entry}/comm")):
                    yield int(entry)


def _is_running(pid: int) -> bool:
    """Say whether `pid` is no zombie, and not on its way to be one (PF_EXITING among the flags in proc(5))."""
    state, *fields = _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()
    return state not in (b"Z", b"X") and not int(fields[5]) & _EXITING


def _read(path: str) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(descriptor, 1024)
    finally:
        os.close(descriptor)


def _adopted_by_init() -> Iterator[ServerProcess]:
    """Without /proc a server is a tmux that init has adopted: it gives itself no name there."""
    for process in psutil.process_iter(["name", "ppid", "uids"]):
        name, parent, uids = (process.info[key] for key in ("name", "ppid", "uids"))
        if name is not None and name.startswith("tmux") and parent == 1 and uids is not None:
            yield ServerProcess(process.pid, uids.effective)
