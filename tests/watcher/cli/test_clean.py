import json
import os
import pty
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

import watcher
from watcher.cli import main
from watcher.settings.keys import KEYS
from watcher.testing import write_lock

PATIENCE = 30.0
ROOT = Path(watcher.__file__).parents[1]


@pytest.fixture(autouse=True)
def bare_environment(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep the settings of whoever runs the tests out of them; give the socket of the one server to be asked."""
    for name in (*(key.variable for key in KEYS.values()), "LOCKWARDEN_CONFIG", "TMUX", "TMUX_PANE"):
        monkeypatch.delenv(name, raising=False)
    empty = tmp_path_factory.mktemp("etc")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(empty))
    monkeypatch.setattr("watcher.settings.file.SYSTEM_CONFIG", empty / "config.toml")
    monkeypatch.setenv("LOCKWARDEN_TMUX_SOCKETS", str(empty / "s"))
    return empty / "s"


class Terminal:
    """A command on a terminal of its own; `shown` is all that it has written there."""

    def __init__(self, *arguments: str) -> None:
        self._ours, theirs = pty.openpty()
        self.shown = ""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "watcher", *arguments],
            cwd=ROOT,
            stdin=theirs,
            stdout=subprocess.PIPE,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)

    def wait_for(self, text: str) -> None:
        """Read until `text` has been shown."""
        while text not in self.shown:
            self.shown += os.read(self._ours, 4096).decode()

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self._ours, text.encode())

    def end(self) -> tuple[int, str]:
        """Wait for the end of the command; give its exit code and what it wrote to stdout, a pipe."""
        out, _ = self.process.communicate(timeout=PATIENCE)
        with suppress(OSError):  # EIO: nobody is on the other side any more
            while more := os.read(self._ours, 4096):
                self.shown += more.decode()
        return self.process.returncode, out.decode()

    def close(self) -> None:
        """Leave nothing behind."""
        self.process.kill()
        self.process.communicate()
        os.close(self._ours)


@contextmanager
def terminal(*arguments: str) -> Iterator[Terminal]:
    """Run a command on a terminal."""
    opened = Terminal(*arguments)
    try:
        yield opened
    finally:
        opened.close()


def test_shows_what_it_removes_and_why(tmp_path: Path, dead_pid: int, capsys: pytest.CaptureFixture[str]) -> None:
    """A table of the stale locks and a summary; only they are gone, and nobody is asked where there is no terminal."""
    stale = write_lock(tmp_path / "rig" / "ada", dead_pid, "gt-ada", ago=7200)
    bare = write_lock(tmp_path / "bob", 0)
    held = write_lock(tmp_path / "cyd", os.getpid())
    assert main(["clean", str(tmp_path)]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert [" ".join(line.split()) for line in out.splitlines()] == [
        "WORKER PROCESS SESSION AGE WHY",
        "bob none none 0s the lock names no process and the lock names no session",
        f"rig/ada {dead_pid} gt-ada 2h process {dead_pid} is gone and session gt-ada does not exist",
        "",
        "2 stale locks removed",
    ]
    assert not stale.exists()
    assert not bare.exists()
    assert held.exists()
    assert main(["clean", str(tmp_path)]) == 0
    assert capsys.readouterr() == ("no stale lock among 1 lock\n", "")


def test_a_dry_run_only_shows(tmp_path: Path, dead_pid: int, capsys: pytest.CaptureFixture[str]) -> None:
    """It exits 1 where there is something to remove, and removes nothing."""
    stale = write_lock(tmp_path, dead_pid)
    assert main(["clean", str(tmp_path), "--dry-run"]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "1 stale lock not removed"
    assert stale.exists()
    stale.unlink()
    assert main(["clean", str(tmp_path), "--dry-run"]) == 0


def test_json(tmp_path: Path, dead_pid: int, capsys: pytest.CaptureFixture[str]) -> None:
    """One object with what became of each stale lock."""
    stale = write_lock(tmp_path / "ada", dead_pid, "gt-ada")
    fields = {
        "worker": "ada",
        "lock_path": str(stale),
        "pid": dead_pid,
        "session_id": "gt-ada",
        "reason": f"process {dead_pid} is gone and session gt-ada does not exist",
    }
    for options, code, outcome in ((["--dry-run"], 1, "kept"), ([], 0, "removed")):
        assert main(["clean", str(tmp_path), "--json", *options]) == code
        out, err = capsys.readouterr()
        (lock,) = (answer := json.loads(out))["locks"]
        assert (err, answer["workspace"]) == ("", str(tmp_path))
        assert lock.pop("acquired_at")
        assert lock == {**fields, "outcome": outcome}
    assert not stale.exists()
    assert main(["clean", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"workspace": str(tmp_path), "locks": []}


def test_the_hint_of_an_alert_works(tmp_path: Path, dead_pid: int) -> None:
    """A stale alert hints at `lockwarden clean WORKER`: a worker is a workspace of one, whatever it is called."""
    stale = write_lock(tmp_path / "build", dead_pid)
    other = write_lock(tmp_path / "other", dead_pid)
    assert main(["clean", str(tmp_path / "build")]) == 0
    assert not stale.exists()
    assert other.exists()


def test_without_tmux_a_session_is_not_known(tmp_path: Path, dead_pid: int) -> None:
    """What `--no-tmux` leaves unknown stays."""
    lock = write_lock(tmp_path, dead_pid, "gt-ada")
    assert main(["clean", str(tmp_path), "--no-tmux"]) == 0
    assert lock.exists()
    assert main(["clean", str(tmp_path)]) == 0
    assert not lock.exists()


def test_what_cannot_go_is_told(tmp_path: Path, dead_pid: int, capsys: pytest.CaptureFixture[str]) -> None:
    """A lock that cannot be removed is a line on stderr and exit 4; the others go all the same."""
    stuck, free = write_lock(tmp_path / "a\x1b", dead_pid), write_lock(tmp_path / "b", dead_pid)
    stuck.with_name("agent.lock.flock").mkdir()
    assert main(["clean", str(tmp_path), "--json"]) == 4
    out, err = capsys.readouterr()
    assert err == f"lockwarden: {tmp_path}/a\\x1b/.runtime/agent.lock: is a directory; it is still there\n"
    assert [(lock["outcome"], lock.get("trouble")) for lock in json.loads(out)["locks"]] == [
        ("failed", "is a directory"),
        ("removed", None),
    ]
    assert stuck.exists()
    assert not free.exists()


def test_a_workspace_that_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """That nothing could be looked at is not said to be clean."""
    assert main(["clean", str(tmp_path / "nowhere")]) == 4
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    ("key", "code", "said"), [("y", 0, "1 stale lock removed"), ("", 1, "1 stale lock not removed")]
)
def test_asks_on_a_terminal(tmp_path: Path, dead_pid: int, key: str, code: int, said: str) -> None:
    """Only a yes removes anything."""
    stale = write_lock(tmp_path, dead_pid)
    with terminal("clean", str(tmp_path)) as opened:
        opened.wait_for("Remove 1 stale lock? [y/N]: ")
        assert stale.exists()
        opened.type(f"{key}\n")
        ended, out = opened.end()
    assert (ended, out.splitlines()[-1]) == (code, said)
    assert stale.exists() is (key != "y")


def test_yes_is_not_asked(tmp_path: Path, dead_pid: int) -> None:
    """With `--yes` nobody has to be there."""
    stale = write_lock(tmp_path, dead_pid)
    with terminal("clean", "--yes", str(tmp_path)) as opened:
        assert opened.end()[0] == 0
        assert opened.shown == ""
    assert not stale.exists()


def test_json_on_a_terminal_asks_beside_it(tmp_path: Path, dead_pid: int) -> None:
    """The table and the question go to stderr, so that stdout stays one object."""
    write_lock(tmp_path, dead_pid)
    with terminal("clean", "--json", str(tmp_path)) as opened:
        opened.wait_for("? [y/N]: ")
        assert f"process {dead_pid} is gone" in opened.shown
        opened.type("y\n")
        code, out = opened.end()
    assert (code, json.loads(out)["locks"][0]["outcome"]) == (0, "removed")


def test_a_lock_that_was_taken_before_the_answer_stays(tmp_path: Path, dead_pid: int) -> None:
    """What is removed is what was shown, not what is there by the time of the yes."""
    stale = write_lock(tmp_path, dead_pid)
    with terminal("clean", str(tmp_path)) as opened:
        opened.wait_for("? [y/N]: ")
        write_lock(tmp_path, os.getpid())
        opened.type("y\n")
        code, out = opened.end()
    assert (code, out.splitlines()[-1]) == (0, "1 stale lock changed meanwhile, not removed")
    assert stale.exists()


def test_a_session_that_came_back_before_the_answer_keeps_its_lock(
    tmp_path: Path, dead_pid: int, bare_environment: Path
) -> None:
    """A question may stand for an hour: after the yes, all is judged anew."""
    stale = write_lock(tmp_path, dead_pid, "gt-ada")
    tmux = ["tmux", "-S", str(bare_environment), "-f", "/dev/null"]
    with terminal("clean", str(tmp_path)) as opened:
        opened.wait_for("? [y/N]: ")
        subprocess.run([*tmux, "new-session", "-d", "-s", "gt-ada", "cat"], check=True, timeout=PATIENCE)
        try:
            opened.type("y\n")
            code, out = opened.end()
        finally:
            subprocess.run([*tmux, "kill-server"], check=True, timeout=PATIENCE)
    assert (code, out.splitlines()[-1]) == (0, "1 stale lock changed meanwhile, not removed")
    assert stale.exists()
