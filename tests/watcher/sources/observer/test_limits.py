import errno
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests.stress.follower import DEADLINE, Follower
from tests.stress.observer import directories_on_disk
from tests.watcher.sources.observer.script import rewrite_lock
from tests.watcher.sources.observer.view import write_lock
from watcher.sources.workspace import limits

# The limits under /proc/sys/user are those of a user namespace alone. (Those under /proc/sys/fs are the machine's,
# whoever writes them.)
_NAMESPACE = ("unshare", "--user", "--map-root-user", "sh", "-c")
_WATCHES = "/proc/sys/user/max_inotify_watches"
_INSTANCES = "/proc/sys/user/max_inotify_instances"


def _limited(limit: str, number: int) -> tuple[str, ...]:
    """What runs a command in a user namespace with that limit."""
    command = f"echo {number} > {limit}"
    if shutil.which("unshare") is None or subprocess.run((*_NAMESPACE, command), check=False).returncode:
        pytest.skip("no user namespace is to be had here")
    return (*_NAMESPACE, f'{command}; exec "$@"', "sh")


def _raised(follower: Follower, limit: str) -> None:
    assert follower.run("sh", "-c", f"echo 10000 > {limit}") == 0


def test_watch_limit_at_start(root: Path) -> None:
    """Out of watches (ENOSPC): the shallow directories are watched, the others polled, and each lock is known."""
    for number in range(20):
        write_lock(root / f"w{number}")
    with Follower(root, wrapper=_limited(_WATCHES, 25)) as follower:
        state = follower.wait(lambda state: len(state["locks"]) == 20 and state["health"])
        (component, condition, reason, hint), *more = state["health"]
        assert (component, condition, more) == ("inotify", "degraded", [])
        assert reason == "out of inotify watches: 16 of 41 directories are looked at every 0.1 s instead"
        assert hint.startswith("sysctl fs.inotify.max_user_watches=")
        shallow = {path.stat().st_ino for path in (root, *root.iterdir())}
        assert shallow <= set(state["watched"])
        assert len(state["watched"]) == 25

        for number in range(20):
            rewrite_lock(root / f"w{number}")
        write_lock(root / "new" / "w")
        shutil.rmtree(root / "w7")
        follower.wait(
            lambda state: (
                len(state["locks"]) == 20
                and len({event for event in state["told"] if event.startswith("modified ")}) >= 19
            )
        )

        _raised(follower, _WATCHES)
        expected = directories_on_disk(root)
        state = follower.wait(lambda state: state["watched"] == expected and len(state["health"]) == 2)
        assert state["health"][1][:2] == ["inotify", "recovered"]
        assert state["stats"]["polled"] == 0


def test_watch_limit_later(root: Path) -> None:
    """Out of watches while it runs: what is made then is polled until other directories leave their watches."""
    write_lock(root / "a")
    with Follower(root, wrapper=_limited(_WATCHES, 6)) as follower:
        follower.wait(lambda state: bool(state["scans"]))
        for number in range(5):
            write_lock(root / f"w{number}")
        state = follower.wait(lambda state: len(state["locks"]) == 6 and state["health"])
        assert [each[:2] for each in state["health"]] == [["inotify", "degraded"]]
        for number in range(4):
            shutil.rmtree(root / f"w{number}")
        expected = directories_on_disk(root)
        state = follower.wait(lambda state: len(state["health"]) == 2 and state["watched"] == expected)
        assert [each[1] for each in state["health"]] == ["degraded", "recovered"]
        assert len(state["locks"]) == 2


def test_instance_limit(root: Path) -> None:
    """Out of inotify instances (EMFILE): everything is polled, loudly; inotify takes over when there is one."""
    write_lock(root / "a")
    with Follower(root, wrapper=_limited(_INSTANCES, 0)) as follower:
        state = follower.wait(lambda state: len(state["locks"]) == 1)
        assert state["stats"]["backend"] == "polling"
        (component, condition, reason, hint), *more = state["health"]
        assert (component, condition, more) == ("inotify", "degraded", [])
        assert reason == "out of inotify instances: everything is looked at every 0.1 s instead"
        assert hint.startswith("sysctl fs.inotify.max_user_instances=")
        write_lock(root / "b")
        follower.wait(lambda state: len(state["locks"]) == 2)

        _raised(follower, _INSTANCES)
        expected = directories_on_disk(root)
        state = follower.wait(lambda state: state["watched"] == expected and len(state["health"]) == 2)
        assert state["health"][1][:2] == ["inotify", "recovered"]
        assert state["stats"]["backend"] == "inotify"
        assert state["scans"] == ["start", "resumed"]
        write_lock(root / "c")
        follower.wait(lambda state: len(state["locks"]) == 3)


def test_open_file_limit(root: Path) -> None:
    """Out of open files, a directory that cannot be listed is not taken for empty: it is looked at again."""
    for number in range(3):
        write_lock(root / f"w{number}")
    with Follower(root, "--poll-interval", "0.01") as follower:
        follower.wait(lambda state: len(state["locks"]) == 3)
        follower.limit_files(3)
        (root / "w1").rename(root / "z1")
        end = time.monotonic() + DEADLINE
        while follower.stats()["unreadable"] == 0:
            assert time.monotonic() < end
        follower.limit_files(0)
        expected = sorted(str(path) for path in root.glob("*/.runtime/agent.lock"))
        state = follower.wait(lambda state: state["locks"] == expected and state["stats"]["unreadable"] == 0)
        assert [event.split()[0] for event in state["told"]] == ["deleted", "created"]


def test_what_is_advised(monkeypatch: pytest.MonkeyPatch) -> None:
    """Out of open files is told apart from out of instances, which inotify_init(2) does not; others are passed on."""
    monkeypatch.setattr(limits, "_open_files_are_out", lambda: True)
    reason, hint = limits.no_notifier(OSError(errno.EMFILE, "Too many open files"), 2.0)
    assert reason == "too many open files in this process: everything is looked at every 2 s instead"
    assert "LimitNOFILE" in hint
    reason, _ = limits.no_notifier(OSError(errno.ENOSYS, "Function not implemented"), 2.0)
    assert "Function not implemented" in reason


@pytest.mark.parametrize(("directories", "limit", "advice"), [(60_000, 8192, 131_072), (100, 65_536, 131_072)])
def test_a_number_of_watches_that_would_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, directories: int, limit: int, advice: int
) -> None:
    """The limit that is advised leaves room for this workspace, and for the programs that use up the present one."""
    (tmp_path / "max_user_watches").write_text(f"{limit}\n")
    monkeypatch.setattr(limits, "_LIMITS", tmp_path)
    assert limits.out_of_watches(50, directories, 1.0)[1] == f"sysctl fs.inotify.max_user_watches={advice}"
