import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import msgspec
import pytest

from rules.model import Verdict
from watcher import Lock, LockedError, clean_stale_locks, parts
from watcher.locks.lockfile import encode
from watcher.settings import Settings
from watcher.sources.tmux.server import TmuxOptions


class Tmux(Protocol):
    """The fixture's tmux server."""

    settings: Settings
    socket: str
    pid: int

    def __call__(self, *command: str) -> str:
        """Run a tmux command and give what it prints."""

    def new(self, session: str) -> tuple[str, str, int]:
        """Start a session; give its `$N`, its pane `%N` and the pid in that."""

    def end(self) -> None:
        """End the server, and wait until it is gone."""


def written(pid: int, session_id: str) -> bytes:
    """Give the bytes of a lock that was taken just now."""
    return encode(
        pid=pid, acquired_ns=time.time_ns(), utc_offset=0, session_id=session_id, hostname=socket.gethostname()
    )


@contextmanager
def stopped(tmux: Tmux) -> Iterator[None]:
    """Keep a tmux server from answering."""
    pid = tmux.pid
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_a_living_session_is_not_robbed(worker: Path, lock: Path, tmux: Tmux, dead_pid: int) -> None:
    """A dead spawner's lock is held by what it names: a session by name or `$N`, or a pane; no other may have it."""
    session, pane, _ = tmux.new("gt-ada")
    visitor = Lock(worker, settings=tmux.settings, session_id="gt-else")
    for session_id in ("gt-ada", session, pane):
        lock.write_bytes(before := written(dead_pid, session_id))
        said = f"held by session {session_id} (dead PID {dead_pid})"
        for attempt in (visitor.acquire, visitor.release, visitor.check):
            with pytest.raises(LockedError) as refusal:
                attempt()
            assert (refusal.value.reason, refusal.value.verdict) == (said, Verdict.HELD_BY_SESSION)
        assert visitor.status() == said
        assert not visitor.is_stale()
        assert clean_stale_locks(worker, tmux.settings) == []
        assert lock.read_bytes() == before


def test_the_lock_of_an_ended_session_is_free(worker: Path, lock: Path, tmux: Tmux, dead_pid: int) -> None:
    """When the session ends too, the lock is stale: it is taken, removed by a check, and cleaned."""
    session, pane, _ = tmux.new("gt-ada")
    tmux.new("gt-other")
    tmux("kill-session", "-t", "gt-ada")
    visitor = Lock(worker, settings=tmux.settings)
    for session_id in ("gt-ada", session, pane):
        lock.write_bytes(written(dead_pid, session_id))
        assert visitor.status() == f"stale (dead PID {dead_pid})"
        assert [each.record.session_id for each in clean_stale_locks(worker, tmux.settings)] == [session_id]
        assert not lock.exists()
        lock.write_bytes(written(dead_pid, session_id))
        visitor.check()
        assert not lock.exists()
        lock.write_bytes(written(dead_pid, session_id))
        assert visitor.acquire().pid == os.getpid()
        assert visitor.release()


def test_the_same_pane_is_the_same_owner(worker: Path, lock: Path, tmux: Tmux, dead_pid: int) -> None:
    """Whoever comes from the pane or the session that the lock names takes it anew, under any of its names."""
    session, pane, _ = tmux.new("gt-ada")
    for theirs in ("gt-ada", session, pane):
        for ours in ("gt-ada", session, pane):
            lock.write_bytes(written(dead_pid, theirs))
            owner = Lock(worker, settings=tmux.settings, session_id=ours)
            owner.check()
            assert owner.status() == "locked (by us)"
            assert owner.acquire().session_id == ours
            assert owner.release()


def test_two_processes_of_one_pane_are_one_owner(worker: Path, lock: Path, tmux: Tmux) -> None:
    """A helper in the agent's pane refreshes the agent's lock; from another pane the agent's process keeps it."""
    _, pane, pid = tmux.new("gt-ada")
    _, elsewhere, _ = tmux.new("gt-bob")
    lock.write_bytes(written(pid, pane))
    with pytest.raises(LockedError, match=f"locked by PID {pid}"):
        Lock(worker, settings=tmux.settings, session_id=elsewhere).acquire()
    assert Lock(worker, settings=tmux.settings, session_id=pane).acquire().pid == os.getpid()


def test_the_same_number_on_another_server_is_a_stranger(
    worker: Path, lock: Path, tmux_server: Callable[[], Tmux], dead_pid: int
) -> None:
    """Each server counts its panes from `%0`: who sits in one gets no lock that may be the other's."""
    one, two = tmux_server(), tmux_server()
    _, pane, _ = one.new("gt-ada")
    _, same_pane, ours = two.new("gt-bob")
    assert pane == same_pane
    settings = msgspec.structs.replace(
        one.settings, tmux=msgspec.structs.replace(one.settings.tmux, sockets=(one.socket, two.socket))
    )
    lock.write_bytes(before := written(dead_pid, pane))
    owner = Lock(worker, settings=settings, pid=ours, session_id=pane)
    with pytest.raises(LockedError, match="unverifiable"):
        owner.acquire()
    assert lock.read_bytes() == before
    one.end()
    assert owner.acquire().pid == ours


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for a tmux server that hangs no longer than a test has to."""
    options = parts.tmux_options
    monkeypatch.setattr(parts, "tmux_options", lambda settings: replace(options(settings), timeout=0.3))


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("ask", ["hangs", "off"])
def test_a_session_nobody_answers_for_is_not_robbed(
    worker: Path, lock: Path, tmux: Tmux, dead_pid: int, ask: str
) -> None:
    """Where tmux hangs or is switched off, the lock is neither taken nor released, checked away or cleaned.

    That we come from a pane of the same number proves nothing then; that we are the very process does.
    """
    _, pane, _ = tmux.new("gt-ada")
    settings = tmux.settings
    if ask == "off":
        settings = msgspec.structs.replace(settings, tmux=msgspec.structs.replace(settings.tmux, enabled=False))
    lock.write_bytes(before := written(dead_pid, pane))
    said = f"unverifiable (session {pane}, dead PID {dead_pid})"
    with stopped(tmux):
        for session_id in ("", pane):
            visitor = Lock(worker, settings=settings, session_id=session_id)
            for attempt in (visitor.acquire, visitor.release, visitor.check):
                with pytest.raises(LockedError) as refusal:
                    attempt()
                assert (refusal.value.reason, refusal.value.verdict) == (said, Verdict.UNVERIFIABLE)
            assert visitor.status() == said
        assert clean_stale_locks(worker, settings) == []
        assert lock.read_bytes() == before
        lock.write_bytes(before := written(os.getppid(), pane))
        with pytest.raises(LockedError, match=f"locked by PID {os.getppid()}"):
            Lock(worker, settings=settings, session_id=pane).acquire()
        assert lock.read_bytes() == before
        lock.write_bytes(written(os.getpid(), pane))
        assert Lock(worker, settings=settings, session_id=pane).release()


def test_tmux_is_not_asked_without_need(worker: Path, lock: Path, tmux: Tmux, monkeypatch: pytest.MonkeyPatch) -> None:
    """A living process is answer enough for who brings no session; our own lock needs no answer at all."""
    asked: list[TmuxOptions] = []

    def look(options: TmuxOptions, *_: object) -> list[object]:
        asked.append(options)
        return []

    monkeypatch.setattr("watcher.survey.look", look)
    lock.write_bytes(written(os.getppid(), "gt-ada"))
    with pytest.raises(LockedError, match="locked by PID"):
        Lock(worker, settings=tmux.settings).check()
    lock.unlink()
    ours = Lock(worker, settings=tmux.settings, session_id="gt-ada")
    ours.acquire()
    ours.check()
    ours.acquire()
    assert ours.status() == "locked (by us)"
    assert ours.release()
    assert not any(options.enabled for options in asked)


def test_a_descriptive_session_id_proves_nothing(worker: Path, lock: Path, tmux: Tmux, dead_pid: int) -> None:
    """`rig/name` names the worker and not its owner: no server knows it, so nobody can be told to be gone."""
    tmux.new("gt-ada")
    lock.write_bytes(written(dead_pid, "rig/ada"))
    with pytest.raises(LockedError, match="unverifiable"):
        Lock(worker, settings=tmux.settings, session_id="rig/ada").acquire()
    assert clean_stale_locks(worker, tmux.settings) == []
