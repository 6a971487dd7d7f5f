import os
import subprocess
from pathlib import Path
from typing import Protocol

import pytest

from rules.model import Evidence, Kind, LockRecord
from watcher import detect_collisions, find_all_locks
from watcher.errors import JobError
from watcher.settings import Settings
from watcher.settings.rules import Invalid, Rules
from watcher.testing import write_lock


class Tmux(Protocol):
    """The fixture's tmux server."""

    settings: Settings

    def new(self, session: str) -> tuple[str, str, int]:
        """Start a session; give its `$N`, its pane `%N` and the pid in that."""


def test_finds_the_locks_of_nested_workers(tmp_path: Path, dead_pid: int) -> None:
    """Every readable lock at any depth, by its directory's absolute path, whoever may hold it."""
    for name in (".", "rig", "rig/crew/ada", "a/b/c/d/e"):
        write_lock(tmp_path / name, dead_pid, name)
    found = find_all_locks(tmp_path)
    assert list(found) == sorted(str(tmp_path / name) for name in (".", "rig", "rig/crew/ada", "a/b/c/d/e"))
    assert {record.session_id for record in found.values()} == {".", "rig", "rig/crew/ada", "a/b/c/d/e"}
    assert isinstance(found[str(tmp_path / "rig")], LockRecord)


def test_passes_over_what_is_no_readable_lock(tmp_path: Path) -> None:
    """Broken files, pruned directories and links to directories hold no locks to be found."""
    write_lock(tmp_path / "node_modules" / "ada", 1)
    write_lock(tmp_path / ".git", 1)
    write_lock(tmp_path / "broken", 1)
    (tmp_path / "broken" / ".runtime" / "agent.lock").write_bytes(b"{")
    write_lock(tmp_path / "real", 1)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "agent.lock").write_bytes(b'{"pid": 1}')
    os.mkfifo(tmp_path / "real" / ".runtime" / "other.lock")
    assert list(find_all_locks(tmp_path)) == [str(tmp_path / "real")]


def test_resolves_the_root_alone(tmp_path: Path) -> None:
    """A workspace that is named by a link is the directory that it leads to."""
    write_lock(tmp_path / "town" / "ada", 1)
    (tmp_path / "link").symlink_to(tmp_path / "town")
    assert list(find_all_locks(tmp_path / "link")) == [str(tmp_path / "town" / "ada")]


def test_a_root_that_is_none_is_refused(tmp_path: Path) -> None:
    """Nothing found and nothing looked at are two answers."""
    for look in (find_all_locks, detect_collisions):
        with pytest.raises(JobError, match="no such file"):
            look(tmp_path / "nowhere")


def kinds(root: Path, sessions: list[str] | None, settings: Settings | None = None) -> dict[str, str]:
    """Give the kind of each worker's finding."""
    return {finding.worker: finding.kind for finding in detect_collisions(root, sessions, settings)}


def test_describes_by_the_callers_sessions(tmp_path: Path, dead_pid: int, sleeper: subprocess.Popen[bytes]) -> None:
    """A dead process without its session is stale, a living one an orphan; the list is believed, `$N` and `%N` too."""
    for worker, pid, session_id in (
        ("dead", dead_pid, "gt-a"),
        ("orphan", sleeper.pid, "gt-b"),
        ("bare", dead_pid, ""),
        ("spawned", dead_pid, "%7"),
        ("numbered", sleeper.pid, "$8"),
        ("described", dead_pid, "rig/ada"),
    ):
        write_lock(tmp_path / worker, pid, session_id)
    stale, orphan = Kind.STALE, Kind.ORPHAN
    everything = {"dead": stale, "orphan": orphan, "bare": stale, "spawned": stale, "numbered": orphan}
    assert kinds(tmp_path, []) == everything
    assert kinds(tmp_path, ["gt-a", "gt-b", "%7", "$8", "rig/ada", "gt-z"]) == {"bare": stale}
    assert kinds(tmp_path, ["%8", "$7", "gt"]) == everything


def test_the_callers_list_stands_in_for_tmux(tmp_path: Path, tmux: Tmux, dead_pid: int) -> None:
    """With a list tmux is not believed, even where settings switch it off; without one it is asked."""
    _, pane, _ = tmux.new("gt-ada")
    _, _, pid = tmux.new("gt-bob")
    write_lock(tmp_path / "spawned", dead_pid, pane)
    write_lock(tmp_path / "held", pid, "gt-bob")
    assert kinds(tmp_path, None, tmux.settings) == {}
    assert kinds(tmp_path, [], tmux.settings) == {"spawned": Kind.STALE, "held": Kind.ORPHAN}


def test_the_callers_list_knows_no_servers(tmp_path: Path) -> None:
    """The tmux server that a process runs under is not asked either: a listed session lives, whoever has it."""
    environment = {**os.environ, "TMUX": "/nowhere/s,1,0"}
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, env=environment) as process:
        write_lock(tmp_path / "old", process.pid, "%3", ago=1)
        write_lock(tmp_path / "new", process.pid, "%3")
        assert kinds(tmp_path, ["%3"]) == {"new": Kind.COLLISION}
        assert kinds(tmp_path, ["%4"]) == {"new": Kind.ORPHAN, "old": Kind.ORPHAN}
        process.kill()


def test_two_workers_of_one_pane_collide(tmp_path: Path, dead_pid: int) -> None:
    """Two locks that name one living pane are found; a session is not taken for its pane where nobody told."""
    write_lock(tmp_path / "old", dead_pid, "%3", ago=60)
    write_lock(tmp_path / "new", dead_pid, "%3")
    write_lock(tmp_path / "one", dead_pid, "gt-x")
    write_lock(tmp_path / "two", dead_pid, "gt-x")
    (finding,) = detect_collisions(tmp_path, ["%3", "gt-x"])
    assert (finding.worker, finding.other_worker, finding.evidence) == ("new", "old", Evidence.SHARED_PANE)


def test_unreadable_locks_are_found_too(tmp_path: Path) -> None:
    """A file that cannot be read as a lock is a finding after its grace."""
    write_lock(tmp_path / "ada", 1)
    (tmp_path / "ada" / ".runtime" / "agent.lock").write_bytes(b"[]")
    settings = Settings(rules=Rules(invalid=Invalid(grace=0.0)))
    assert kinds(tmp_path, None, settings) == {"ada": Kind.INVALID}
