"""Random activity on locks: owners come, die, rob each other and lose their sessions; files are spoiled and removed."""

import contextlib
import json
import os
import shutil
import signal
import socket
import time
from argparse import Namespace
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Self

from tests.actors import Agent, Tmux, wait_for
from tests.agent import take

WORKERS = (".", "a", "b", "c", "c/inside", "rig/crew/d", "rig/crew/e", "f")
SESSIONS = ("ada", "bob", "eve")
GARBAGE = (b"", b"{", b'{"pid": "1"}', b"\xff\x00")
MOST_AGENTS = 12
REST = 0.03


class Turmoil:
    """One random act after another in the workspace `root`; a seed repeats the acts, not their moments.

    While `is_calm` is off no session begins or ends: until tmux 3.7 a server may crash where one does in the very
    moment in which a control client introduces itself.
    """

    def __init__(self, root: Path, tmux: Tmux, chance: Random) -> None:
        self.is_calm = True
        self.done: Counter[str] = Counter()
        self._root = root
        self._tmux = tmux
        self._chance = chance
        self._agents: list[Agent] = []
        self._gone: list[int] = []
        self._panes: dict[str, str] = {}
        self._server = 0
        self._hangs = False
        self._acts = {
            self._arrive: 4,
            self._write_for_somebody: 6,
            self._refresh: 4,
            self._die: 4,
            self._release: 3,
            self._release_and_die: 1,
            self._spoil: 2,
            self._prime: 1,
            self._begin_session: 2,
            self._end_session: 2,
            self._remove_worker: 1,
            self._move_worker: 1,
            self._hang: 0.3,
            self._wake: 2,
        }

    def __enter__(self) -> Self:
        self._tmux.session("first")
        self._server = int(self._tmux("display-message", "-p", "#{pid}"))
        return self

    def __exit__(self, *_: object) -> None:
        self._wake()
        for agent in self._agents:
            agent.kill()

    def act(self) -> None:
        """Do something, then rest for a moment."""
        (act,) = self._chance.choices([*self._acts], [*self._acts.values()])
        with contextlib.suppress(FileNotFoundError, json.JSONDecodeError, UnicodeDecodeError):  # there is no such lock
            act()
            self.done[act.__name__.strip("_")] += 1
        time.sleep(REST * self._chance.random() ** 2)

    def settle(self) -> None:
        """Let all that was begun come to its end: what is true then stays true."""
        self._wake()
        wait_for(lambda: not any(map(_runs, self._gone)), f"the end of the processes {self._gone}")

    # -- who, where, what

    def _worker(self) -> str:
        return os.fspath(self._root / self._chance.choice(WORKERS))

    def _lock(self) -> Path:
        return Path(self._worker(), ".runtime", "agent.lock")

    def _session(self) -> str:
        known = [*self._panes, *self._panes.values()] or [""]
        return self._chance.choice(["", "", "nobody", "rig/x", *SESSIONS, self._chance.choice(known)])

    def _how(self) -> dict[str, object]:
        return {"how": self._chance.choice(("in-place", "rename")), "remove": self._chance.random() < 0.3}

    # -- acts

    def _arrive(self) -> None:
        how = self._how()
        if len(self._agents) >= MOST_AGENTS:
            self._die()
        options = ("--how", str(how["how"]), "--session", self._session(), *["--remove"][: bool(how["remove"])])
        self._agents.append(Agent(Path(self._worker()), *options))

    def _write_for_somebody(self) -> None:
        """Write a lock in the name of a process that is there, or was."""
        pids = [agent.pid for agent in self._agents] * 2 + self._gone[-4:] or [0]
        taken = datetime.now(UTC) - timedelta(hours=self._chance.random() < 0.1)
        host = "elsewhere" if self._chance.random() < 0.05 else socket.gethostname()
        take(
            Namespace(
                worker=self._worker(),
                pid=self._chance.choice(pids),
                acquired_at=taken.isoformat(),
                session=self._session(),
                host=host,
                **self._how(),
            )
        )

    def _refresh(self) -> None:
        """Write a lock that is there once more, with a new time."""
        lock = self._lock()
        record = json.loads(lock.read_bytes())
        how = self._how()
        take(
            Namespace(
                worker=os.fspath(lock.parents[1]),
                pid=record.get("pid", 0),
                acquired_at=None,
                session=record.get("session_id", ""),
                host=record.get("hostname", ""),
                **how,
            )
        )

    def _die(self) -> None:
        if self._agents:
            agent = self._agents.pop(self._chance.randrange(len(self._agents)))
            agent.kill()
            self._gone.append(agent.pid)

    def _release(self) -> None:
        self._lock().unlink()

    def _release_and_die(self) -> None:
        self._release()
        self._die()

    def _spoil(self) -> None:
        """Write what is no lock; now and then a good lock soon after it, as one that is written in place."""
        lock = self._lock()
        lock.parent.mkdir(parents=True, exist_ok=True)
        lock.write_bytes(self._chance.choice(GARBAGE))
        if self._chance.random() < 0.3:
            time.sleep(0.2 * self._chance.random())
            self._write_for_somebody()

    def _prime(self) -> None:
        """Have a process in a pane take a lock, and go."""
        if self._panes and not self._hangs:
            pane = self._panes[self._chance.choice([*self._panes])]
            self._gone.append(self._tmux.prime(pane, Path(self._worker()), stay=0.1))

    def _begin_session(self) -> None:
        missing = [name for name in SESSIONS if name not in self._panes]
        if missing and self.is_calm and not self._hangs:
            name = self._chance.choice(missing)
            self._panes[name] = self._tmux.session(name)

    def _end_session(self) -> None:
        if self._panes and self.is_calm and not self._hangs:
            name = self._chance.choice([*self._panes])
            del self._panes[name]
            self._tmux("kill-session", "-t", name)

    def _remove_worker(self) -> None:
        worker = Path(self._worker())
        if worker.resolve() != self._root:
            shutil.rmtree(worker)

    def _move_worker(self) -> None:
        one, two = Path(self._worker()), Path(self._worker())
        if self._root not in {one.resolve(), two.resolve()}:
            with contextlib.suppress(OSError):  # into itself, or where one is already
                one.rename(two)

    def _hang(self) -> None:
        """Stop the tmux server: nobody can say any more which sessions there are."""
        os.kill(self._server, signal.SIGSTOP)
        self._hangs = True

    def _wake(self) -> None:
        os.kill(self._server, signal.SIGCONT)
        self._hangs = False


def _runs(pid: int) -> bool:
    """Say whether a process is there, and no zombie (proc_pid_stat(5))."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False
