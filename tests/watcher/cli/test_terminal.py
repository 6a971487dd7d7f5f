import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.actors import Agent, Tmux, wait_for
from tests.harness import environment

pytestmark = pytest.mark.skipif(shutil.which("tmux") is None, reason="needs tmux")

LOCKWARDEN = (sys.executable, "-m", "watcher")


class Screen:
    """A shell in a pane of tmux, in which a person types, and of which all is kept that was ever shown."""

    def __init__(self, tmux: Tmux, home: Path) -> None:
        self._tmux = tmux
        kept = {name: value for name, value in environment(home).items() if name not in {"NO_COLOR", "TERM"}}
        settings = (f"{name}={value}" for name, value in {**kept, "PS1": "$ "}.items())
        self._pane = tmux.session("person", f"exec env -i TERM=screen {shlex.join(settings)} sh")
        tmux("resize-window", "-t", self._pane, "-x", "170", "-y", "30")
        self.shows(r"^\$")

    def run(self, *words: object, then: str = "") -> None:
        """Type a command."""
        self._tmux("send-keys", "-t", self._pane, "-l", f"{shlex.join(map(str, words))}{then}\n")

    def press(self, key: str) -> None:
        """Press a key."""
        self._tmux("send-keys", "-t", self._pane, key)

    def shows(self, *patterns: str) -> str:
        """Wait until each of these is found on the screen, and give that."""
        wanted = [re.compile(pattern, re.MULTILINE) for pattern in patterns]
        wait_for(lambda: all(each.search(self.text()) for each in wanted), f"{patterns} on the screen")
        return self.text()

    def text(self, *options: str) -> str:
        """Give what the screen shows, and what has scrolled out of it."""
        return self._tmux("capture-pane", "-p", "-S", "-", *options, "-t", self._pane)


@pytest.fixture
def screen(home: Path) -> Iterator[Screen]:
    """Give a terminal."""
    with Tmux(home / "s") as tmux:
        yield Screen(tmux, home)


def test_scan(screen: Screen, workspace: Path) -> None:
    """A table, worst first, that no name of a directory can wipe out; the exit code says that something was found."""
    screen.run("echo", "before")
    screen.shows("^before$")
    with Agent(workspace / "ada", "--session", ""):
        pass
    with Agent(workspace / "b\x1b[2Jb", "--session", "") as bob:
        screen.run(*LOCKWARDEN, "scan", workspace, "--no-tmux", then="; echo left with $?")
        shown = screen.shows("^left with 1$")
    assert "\nbefore\n" in shown
    head, ada, below, _, summary = shown[shown.index("WORKER") :].splitlines()[:5]
    assert head.split() == ["WORKER", "VERDICT", "PROCESS", "SESSION", "AGE", "WHAT", "IS", "WRONG"]
    assert ada.startswith("ada        stale ")
    assert below.startswith(rf"b\x1b[2Jb  held     {bob.pid} python")
    assert summary.startswith("2 locks, 1 finding; ")


def test_tail_follow(screen: Screen, workspace: Path, home: Path) -> None:
    """A person sees what happens, in colour, over a rotation, until Ctrl-C."""
    log = home / "log"
    command = [*LOCKWARDEN, "watch", str(workspace), "--log-file", str(log), "--quiet", "--no-tmux", "--no-state"]
    with (
        subprocess.Popen(command, env=environment(home)) as watcher,
        Agent(workspace / "ada", "--session", "") as ada,
        Agent(workspace / "b\x1b[2Jb", "--session", "") as bob,
    ):
        try:
            wait_for(log.exists, "the log")
            screen.run("echo", "before")
            screen.run(*LOCKWARDEN, "tail", "--follow", log, then="; echo left with $?")
            screen.shows(r" started +watcher +watching ", r" acquired +ada ", r" acquired +b\\x1b\[2Jb ")
            ada.kill()
            screen.shows(rf" warning +firing +ada +lock is stale: process {ada.pid} is gone")
            log.rename(home / "log.1")
            bob.kill()
            screen.shows(r" warning +firing +b\\x1b\[2Jb +lock is stale: ")
            assert "\x1b[33mwarning" in screen.text("-e")
            screen.press("C-c")
            screen.shows("left with 130$", "^before$")
        finally:
            watcher.terminate()
