import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import watcher
from rules.alerts import Alert, Step, Transition
from tests.rules.builders import finding
from watcher.state import Running, StateStore

pytestmark = pytest.mark.skipif(shutil.which("tmux") is None, reason="needs tmux")

PATIENCE = 30.0
ROOT = Path(watcher.__file__).parents[1]


class Screen:
    """A shell in a tmux of its own, in which a person types."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        environment = f"PS1='$ ' PYTHONPATH={ROOT} XDG_CONFIG_HOME={socket.parent}"
        self.tmux("new-session", "-d", "-x", "90", "-y", "20", f"env {environment} sh")
        self.tmux("set-option", "-g", "status", "off")
        self.server = int(self.tmux("display-message", "-p", "#{pid}"))

    def tmux(self, *command: str) -> str:
        """Run one tmux command, and give what it prints."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("TMUX", "LOCKWARDEN"))}
        return subprocess.run(
            ["tmux", "-u", "-f", "/dev/null", "-S", self._socket, *command],
            check=True,
            capture_output=True,
            text=True,
            env=environment,
        ).stdout

    def type(self, *keys: str) -> None:
        """Press keys."""
        self.tmux("send-keys", *keys)

    def shows(self, *texts: str) -> str:
        """Wait until all of this is on the screen, and give the screen."""
        return self.until(lambda screen: all(text in screen for text in texts))

    def until(self, fact: Callable[[str], bool]) -> str:
        """Wait until a fact holds of the screen, and give the screen."""
        deadline = time.monotonic() + PATIENCE
        while not fact(screen := self.tmux("capture-pane", "-p")):
            assert time.monotonic() < deadline, screen
            time.sleep(0.05)
        return screen

    def modes(self) -> str:
        """Say whether the alternate screen is on, the cursor shown, and lines wrapped."""
        return self.tmux("display-message", "-p", "#{alternate_on} #{cursor_flag} #{wrap_flag}").strip()


@pytest.fixture
def screen(home: Path) -> Iterator[Screen]:
    """Give a terminal."""
    screen = Screen(home / "s")
    yield screen
    screen.tmux("kill-server")
    deadline = time.monotonic() + PATIENCE
    while b") Z " not in (stat := read(Path(f"/proc/{screen.server}/stat"))) and stat:
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def store(home: Path, workspace: Path) -> Iterator[StateStore]:
    """Give the state of a watcher that runs, with one alert."""
    store = StateStore(str(home / "state"), str(workspace))
    store.claim_watch(Running(pid=os.getpid(), since=time.time(), version="1", backend="auto"))
    store.load()
    fire(store, "rig/joe", "a")
    yield store
    store.close()


def fire(store: StateStore, worker: str, fingerprint: str) -> None:
    """Have one more alert fire."""
    store.intend([Transition(Step.FIRING, Alert(finding(worker=worker), fingerprint * 16, time.time()))])


@pytest.fixture
def live(
    screen: Screen,
    store: StateStore,  # noqa: ARG001 - a watcher has to run before it is looked at
    home: Path,
    workspace: Path,
) -> Screen:
    """Give a terminal with something on it from before, and `status --live` over that."""
    screen.type("echo bef''ore", "Enter")
    screen.shows("before\n")
    command = [sys.executable, "-m", "watcher", "status", str(workspace), "--live", "--state-dir", str(home / "state")]
    screen.type(f"{shlex.join(command)}; echo left with $?", "Enter")
    screen.shows("workspace  ", "rig/joe", "q or Ctrl-C: leave")
    return screen


def test_what_happens_is_seen(live: Screen, store: StateStore) -> None:
    """The page is drawn over itself: what fires appears on it, and what ended goes from it."""
    assert live.modes().startswith("1 0")
    assert "before" not in live.shows("1 alert")
    fire(store, "rig/eve", "b")
    live.shows("rig/joe", "rig/eve", "firing     2 alerts")
    store.close()
    live.shows("none; the last was process", "2 alerts when it ended")


@pytest.mark.parametrize("key", ["q", "C-c"])
def test_leaving(live: Screen, key: str) -> None:
    """What was on the terminal is there again, the cursor too, and the exit code says that one runs."""
    live.type(key)
    screen = live.shows("before\n", "left with 0")
    assert "rig/joe" not in screen
    assert live.modes() == "0 1 1"
    live.type("echo ec''ho", "Enter")
    live.shows("echo ec''ho\necho\n")


def test_being_ended(live: Screen, home: Path) -> None:
    """TERM puts the terminal back before it ends us."""
    (pid,) = [
        int(path.name)
        for path in Path("/proc").glob("[0-9]*")
        if str(home / "state").encode() in read(path / "cmdline") and b"--live" in read(path / "cmdline")
    ]
    os.kill(pid, signal.SIGTERM)
    live.shows("before\n", "left with 143")
    assert live.modes() == "0 1 1"


def test_resizing(live: Screen, store: StateStore) -> None:
    """Lines are cut to the width and the page to the height, as soon as these change; what is cut is told."""
    for number in range(1, 10):
        fire(store, f"rig/worker-with-a-long-name-{number}", str(number))
    live.shows("firing     10 alerts")
    live.tmux("resize-window", "-x", "40", "-y", "8")
    screen = live.shows("more lines", "q or Ctrl-C: leave")
    assert screen.startswith("workspace  ")
    assert len(screen.splitlines()) == 8
    live.tmux("resize-window", "-x", "120", "-y", "30")
    live.until(lambda screen: "worker-with-a-long-name-9" in screen and "more lines" not in screen)


def test_suspending_keys_do_nothing(live: Screen, store: StateStore) -> None:
    """Ctrl-Z and Ctrl-backslash leave no half-drawn terminal behind: it goes on."""
    live.type("C-z", "C-\\")
    fire(store, "rig/eve", "b")
    live.shows("rig/eve")
    live.type("q")
    live.shows("left with 0")


def read(path: Path) -> bytes:
    """Read a file of a process that may have ended."""
    try:
        return path.read_bytes()
    except OSError:
        return b""
