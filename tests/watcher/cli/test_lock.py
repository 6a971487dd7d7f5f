import fcntl
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from watcher.cli import main
from watcher.library import lock as lock_module
from watcher.locks.lockfile import encode
from watcher.settings.keys import KEYS


@pytest.fixture(autouse=True)
def bare_environment(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the settings and the pane of whoever runs the tests out of them."""
    for name in (*(key.variable for key in KEYS.values()), "LOCKWARDEN_CONFIG", "TMUX", "TMUX_PANE"):
        monkeypatch.delenv(name, raising=False)
    empty = tmp_path_factory.mktemp("etc")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(empty))
    monkeypatch.setattr("watcher.settings.file.SYSTEM_CONFIG", empty / "config.toml")
    monkeypatch.setenv("LOCKWARDEN_TMUX_SOCKETS", str(empty / "no-server"))


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    """The place where the lock of the worker `tmp_path` belongs; nothing is there yet."""
    (tmp_path / ".runtime").mkdir()
    return tmp_path / ".runtime" / "agent.lock"


def written(pid: int, session_id: str = "", hostname: str = "") -> bytes:
    """Give the bytes of a lock that was taken just now."""
    return encode(pid=pid, acquired_ns=time.time_ns(), utc_offset=0, session_id=session_id, hostname=hostname)


def printed(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """Give the one JSON object that was printed, and nothing else was."""
    out, err = capsys.readouterr()
    assert err == ""
    assert out.count("\n") == 1
    found = json.loads(out)
    assert isinstance(found, dict)
    return found


def test_a_round_in_words(tmp_path: Path, lock: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Acquire, check and release a lock for the process that runs the command."""
    parent, worker = os.getppid(), str(tmp_path)
    steps = (
        ("check", "unlocked"),
        ("acquire", f"acquired for PID {parent} (session: none)"),
        ("check", "locked (by us)"),
        ("acquire", f"acquired for PID {parent} (session: none)"),
        ("release", "released"),
        ("release", "unlocked"),
        ("show", "unlocked"),
    )
    for step, said in steps:
        assert main(["lock", step, worker]) == 0
        assert capsys.readouterr() == (f"{said}\n", "")
    assert not lock.exists()


def test_a_round_in_json(tmp_path: Path, lock: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each answer is one object, with the names that the log has for the facts."""
    parent = os.getppid()
    place = {"worker": str(tmp_path), "lock_path": str(lock)}
    assert main(["lock", "acquire", str(tmp_path), "--session", "gt-x", "--json"]) == 0
    acquired = printed(capsys)
    acquired_at = acquired.pop("acquired_at")
    facts = {"pid": parent, "session_id": "gt-x", "lock_host": socket.gethostname()}
    assert acquired == {"result": "acquired", "status": "locked (by us)", **facts, **place}
    assert main(["lock", "check", str(tmp_path), "--json"]) == 0
    assert printed(capsys) == {"result": "free", "status": "locked (by us)", **place}
    assert main(["lock", "show", str(tmp_path), "--json"]) == 0
    shown = printed(capsys)
    assert shown["findings"] == [f"process {parent} is alive but session gt-x does not exist"]
    assert {name: shown[name] for name in ("result", "status", "verdict", "acquired_at", *facts, *place)} == {
        "result": "shown",
        "status": "locked (by us)",
        "verdict": "orphan",
        "acquired_at": acquired_at,
        **facts,
        **place,
    }
    assert main(["lock", "release", str(tmp_path), "--json"]) == 0
    assert printed(capsys) == {"result": "released", "status": "unlocked", **place}


@pytest.mark.parametrize("step", ["acquire", "check", "release"])
def test_who_is_in_the_way(tmp_path: Path, lock: Path, step: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Another's lock is exit 1: one line on stderr that names the holder and the next command, or one object."""
    lock.write_bytes(before := written(os.getpid(), "gt-ada"))
    said = f"locked by PID {os.getpid()} (session: gt-ada)"
    assert main(["lock", step, str(tmp_path)]) == 1
    assert capsys.readouterr() == ("", f"lockwarden: {lock}: {said}; see lockwarden lock show {tmp_path}\n")
    assert main(["lock", step, str(tmp_path), "--json"]) == 1
    answer = printed(capsys)
    assert (answer["result"], answer["status"], answer["verdict"]) == ("locked", said, "held")
    assert (answer["pid"], answer["session_id"]) == (os.getpid(), "gt-ada")
    assert lock.read_bytes() == before


def test_the_owner_can_be_named(tmp_path: Path, lock: Path, dead_pid: int, capsys: pytest.CaptureFixture[str]) -> None:
    """`--pid` names another process than the parent; it has to live."""
    assert main(["lock", "acquire", str(tmp_path), "--pid", str(os.getpid())]) == 0
    assert json.loads(lock.read_bytes())["pid"] == os.getpid()
    assert main(["lock", "release", str(tmp_path)]) == 1
    assert main(["lock", "release", str(tmp_path), "--pid", str(os.getpid())]) == 0
    capsys.readouterr()
    assert main(["lock", "acquire", str(tmp_path), "--pid", str(dead_pid)]) == 2
    said = f"lockwarden: --pid: there is no process {dead_pid} to hold the lock; name one that lives\n"
    assert capsys.readouterr() == ("", said)
    assert not lock.exists()


def test_the_session_is_the_pane_unless_named(tmp_path: Path, lock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`$TMUX_PANE` is recorded where there is one, `--session` wins, and an empty one records none."""
    monkeypatch.setenv("TMUX_PANE", "%5")
    for options, recorded in (([], "%5"), (["--session", "gt-x"], "gt-x"), (["--session", ""], None)):
        assert main(["lock", "acquire", str(tmp_path), *options]) == 0
        assert json.loads(lock.read_bytes()).get("session_id") == recorded


def test_a_stale_lock_is_in_nobodys_way(tmp_path: Path, lock: Path, dead_pid: int) -> None:
    """It is replaced by acquire and removed by check."""
    lock.write_bytes(written(dead_pid))
    assert main(["lock", "acquire", str(tmp_path)]) == 0
    assert json.loads(lock.read_bytes())["pid"] == os.getppid()
    lock.write_bytes(written(dead_pid))
    assert main(["lock", "check", str(tmp_path)]) == 0
    assert not lock.exists()


def test_show_tells_all(tmp_path: Path, lock: Path, dead_pid: int, capsys: pytest.CaptureFixture[str]) -> None:
    """Facts and what is wrong stand one to a line, escaped, and nothing is changed."""
    lock.write_bytes(before := written(dead_pid, "a\nb\x1b[2J"))
    assert main(["lock", "show", str(tmp_path)]) == 0
    lines = dict(line.split(None, 1) for line in capsys.readouterr().out.splitlines())
    assert lines.pop("acquired_at").endswith("Z")
    assert lines == {
        "status": f"stale (dead PID {dead_pid})",
        "verdict": "stale",
        "pid": str(dead_pid),
        "process_state": "dead",
        "session_id": r"a\nb\x1b[2J",
        "session_state": "dead",
        "wrong": rf"process {dead_pid} is gone and session a\nb\x1b[2J does not exist",
    }
    assert lock.read_bytes() == before


def test_an_unreadable_lock(
    tmp_path: Path, lock: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is something to report for check, can be shown, and is replaced by acquire."""
    monkeypatch.setenv("LOCKWARDEN_RULES_INVALID_GRACE", "0s")
    lock.write_bytes(b"[]")
    assert main(["lock", "check", str(tmp_path), "--json"]) == 1
    assert printed(capsys)["result"] == "invalid"
    assert main(["lock", "show", str(tmp_path)]) == 0
    assert "invalid: not a JSON object" in capsys.readouterr().out
    assert main(["lock", "acquire", str(tmp_path)]) == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["acquire"], "missing argument 'WORKER'"),
        (["acquire", "/nowhere/at/all"], "does not exist"),
        (["show", __file__], "is a file"),
        (["acquire", ".", "--pid", "0"], "--pid"),
        (["acquire", ".", "--pid", "x"], "--pid"),
        (["steal", "."], "no such command 'steal'"),
    ],
)
def test_usage(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A slip of the pen is exit 2 and one line; it makes no directory."""
    assert main(["lock", *arguments]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert said in err


def test_a_parent_out_of_sight(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a container the parent may be outside: its pid is 0 then, and no owner of anything."""
    monkeypatch.setattr(os, "getppid", lambda: 0)
    assert main(["lock", "acquire", str(tmp_path)]) == 2
    assert "name the process" in capsys.readouterr().err


def test_what_the_file_system_refuses(
    tmp_path: Path, lock: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A flock that is kept and a directory that is a link are exit 4, one line that names the place."""
    monkeypatch.setattr(lock_module, "PATIENCE", 0.05)
    with lock.with_name("agent.lock.flock").open("w") as kept:
        fcntl.flock(kept, fcntl.LOCK_EX)
        assert main(["lock", "acquire", str(tmp_path)]) == 4
    flock = f"{lock}.flock"
    said = (
        f"lockwarden: {flock}: still held by another process after 0.05 s; try again, or see who it is: fuser {flock}\n"
    )
    assert capsys.readouterr() == ("", said)
    lock.parent.rename(tmp_path / "moved")
    lock.parent.symlink_to(tmp_path / "moved")
    assert main(["lock", "acquire", str(tmp_path)]) == 4
    said = f"lockwarden: {lock}: not a directory; see what is there: ls -la {lock.parent}\n"
    assert capsys.readouterr() == ("", said)


def test_from_a_shell_script(tmp_path: Path) -> None:
    """The script is the owner: it keeps its lock from another script and gives it back at its end."""
    script = """
        lock() { "$PYTHON" -m watcher lock "$@" --session ""; }
        lock acquire "$1" || exit 9
        trap 'lock release "$1"' EXIT
        lock check "$1"
        sh -c '"$PYTHON" -m watcher lock check "$1"; echo "other: $?"' other "$1"
    """
    done = subprocess.run(
        ["sh", "-c", script, "script", tmp_path],
        env={**os.environ, "PYTHON": sys.executable},
        cwd=Path(lock_module.__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    acquired, checked, other, released = done.stdout.splitlines()
    assert acquired.startswith("acquired for PID ")
    assert (checked, other, released) == ("locked (by us)", "other: 1", "released")
    assert not (tmp_path / ".runtime" / "agent.lock").exists()
