"""A small true world: processes, tmux servers and lock files that come and go, and what probes of it see.

What it leaves out, since the registry is meant to know more of it than one late look can tell: renamed
sessions, agents behind writers, and numbers that are used again within the two seconds by which clocks may err.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from rules.model import LockRecord, ProcessFact, ProcessIdentity
from tests.watcher.answers import HUNG, ME, SHE
from watcher.events import (
    Event,
    LockGone,
    LockSeen,
    Pane,
    ProcessSeen,
    Reading,
    Rescanned,
    ServersSeen,
    Sessions,
    SessionsSeen,
    Unreadable,
)
from watcher.testing import BOOT, DEAD, UNKNOWN, alive, at, ended, identity, record

WORKERS = ("a", "b", "a/x")
PIDS = (10, 11, 12, 13)
SOCKETS = {"/s": ME, "/t": ME, "/h": SHE}
NAMES = ("ada", "bob")
SESSIONS = ("", "%0", "%1", "%2", "$1", "ada", "bob", "rig/a")

_NUMBERS_REST = 3.0
"""Seconds for which a number is not used again."""

Sight = Callable[[float], Event]
"""What a probe has seen: an event that is told at some later moment."""


@dataclass
class Server:
    """One run of a tmux server."""

    socket: str
    pid: int
    started: float
    panes: list[Pane] = field(default_factory=list)
    hangs: bool = False
    numbers: int = 0


@dataclass
class File:
    """One lock file: what it says, whose it is, and since when."""

    content: LockRecord | Unreadable
    uid: int
    since: float
    owner: ProcessIdentity | None = None


class World:
    """What is true. Each act that changes it returns what a watcher would see of that at once."""

    def __init__(self) -> None:
        self.now = 1.0
        self.processes: dict[int, float] = dict.fromkeys(PIDS[:2], -5.0)
        self.servers: dict[str, Server] = {}
        self.files: dict[str, File] = {}
        self._runs = 0
        self.start("/s")
        for name in NAMES:
            self.open_pane("/s", name)

    # Acts

    def spend(self, seconds: float) -> list[Sight]:
        """Let time pass."""
        self.now += seconds
        return []

    def spawn(self, pid: int) -> list[Sight]:
        """Start a process, where the number is free."""
        if pid not in self.processes:
            self.now += _NUMBERS_REST
            self.processes[pid] = self.now
        return []

    def kill(self, pid: int) -> list[Sight]:
        """End a process."""
        started = self.processes.pop(pid, None)
        return [] if started is None else [lambda t: ProcessSeen(pid, ended(pid, started=started), at(t))]

    def write(self, worker: str, pid: int, session_id: str, *, far: bool, hers: bool) -> list[Sight]:
        """Write a lock, in place or anew."""
        self.now += 0.01
        lock = record(pid, session_id, taken=self.now, hostname="far" if far else "vm")
        owner = identity(pid, self.processes[pid]) if pid in self.processes and not far else None
        self.files[worker] = File(lock, SHE if hers else ME, self.now, owner)
        return [self.look(worker)]

    def garble(self, worker: str) -> list[Sight]:
        """Write what cannot be read as a lock."""
        self.now += 0.01
        self.files[worker] = File(Unreadable("no JSON"), ME, self.now)
        return [self.look(worker)]

    def delete(self, worker: str) -> list[Sight]:
        """Remove a lock file."""
        self.files.pop(worker, None)
        return [self.look(worker)]

    def start(self, socket: str) -> list[Sight]:
        """Start a server, where there is none."""
        if socket not in self.servers:
            self.now += _NUMBERS_REST
            self._runs += 1
            self.servers[socket] = Server(socket, self._runs, self.now)
        return [self.list_servers(SOCKETS[socket])]

    def stop(self, socket: str) -> list[Sight]:
        """End a server, and all its panes."""
        self.servers.pop(socket, None)
        return [self.list_servers(SOCKETS[socket])]

    def hang(self, socket: str) -> list[Sight]:
        """Have a server hang, or answer again."""
        if server := self.servers.get(socket):
            server.hangs = not server.hangs
        return self._asked(socket)

    def open_pane(self, socket: str, name: str) -> list[Sight]:
        """Open a pane in a session of that name, a new one if there is none."""
        if server := self.servers.get(socket):
            session = next((pane.session for pane in server.panes if pane.name == name), f"${server.numbers}")
            server.panes.append(Pane(f"%{server.numbers}", 1, dead=False, session=session, name=name))
            server.numbers += 1
        return self._asked(socket)

    def close_pane(self, socket: str, which: int) -> list[Sight]:
        """Close a pane."""
        if (server := self.servers.get(socket)) and server.panes:
            del server.panes[which % len(server.panes)]
        return self._asked(socket)

    def empty_pane(self, socket: str, which: int) -> list[Sight]:
        """Have a pane's process end while the pane remains, or be respawned."""
        if (server := self.servers.get(socket)) and server.panes:
            pane = server.panes[which % len(server.panes)]
            server.panes[which % len(server.panes)] = replace(pane, dead=not pane.dead)
        return self._asked(socket)

    # Probes

    def look(self, worker: str) -> Sight:
        """Look at one lock."""
        file = self.files.get(worker)
        if file is None:
            return lambda t: LockGone(worker, at(t))
        reading = self._read(file)
        return lambda t: LockSeen(worker, reading, at(t))

    def rescan(self, *, initial: bool = False) -> Sight:
        """Look at every lock."""
        readings = {worker: self._read(file) for worker, file in self.files.items()}
        return lambda t: Rescanned(readings, at(t), initial=initial)

    def probe(self, pid: int, *, fails: bool = False) -> Sight:
        """Look at a pid."""
        fact = UNKNOWN if fails else self._fact(pid)
        return lambda t: ProcessSeen(pid, fact, at(t))

    def list_servers(self, uid: int) -> Sight:
        """Ask which servers a user has."""
        sockets, asked = frozenset(s for s in self.servers if SOCKETS[s] == uid), self.now
        return lambda t: ServersSeen(uid, sockets, asked, at(t))

    def ask(self, socket: str) -> Sight:
        """Ask a server that is there for its panes."""
        server, asked = self.servers[socket], self.now
        answer = HUNG if server.hangs else Sessions(server.pid, BOOT + server.started, tuple(server.panes))
        return lambda t: SessionsSeen(socket, answer, asked, at(t))

    def ask_all(self) -> list[Sight]:
        """Ask for every server there is, and each of them."""
        return [*(self.list_servers(uid) for uid in (ME, SHE)), *(self.ask(socket) for socket in self.servers)]

    def has(self, owner: ProcessIdentity | None) -> bool:
        """Say whether a process is there that was seen before."""
        return owner is not None and owner == identity(owner.pid, self.processes.get(owner.pid, -1.0))

    def _asked(self, socket: str) -> list[Sight]:
        return [self.ask(socket)] if socket in self.servers else []

    def _fact(self, pid: int) -> ProcessFact:
        started = self.processes.get(pid)
        return DEAD if started is None else alive(pid, started=started)

    def _read(self, file: File) -> Reading:
        if isinstance(file.content, Unreadable):
            return Reading(replace(file.content, age=self.now - file.since), file.uid)
        here = file.content.hostname == "vm"
        return Reading(file.content, file.uid, self._fact(file.content.pid) if here else None)
