import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.actors import wait_for
from watcher.settings import Settings
from watcher.settings.tree import Tmux

PATIENCE = 30.0


@pytest.fixture
def worker(tmp_path: Path) -> Path:
    """A worker directory with a `.runtime` and no lock."""
    (tmp_path / ".runtime").mkdir()
    return tmp_path


@pytest.fixture
def lock(worker: Path) -> Path:
    """The place where the worker's lock belongs; nothing is there yet."""
    return worker / ".runtime" / "agent.lock"


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process that lives for as long as the test."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


class TmuxServer:
    """A tmux server on a socket of its own; `settings` ask no other."""

    def __init__(self, directory: Path) -> None:
        self.socket = str(directory / "s")
        self.settings = Settings(tmux=Tmux(sockets=(self.socket,)))

    def __call__(self, *command: str) -> str:
        """Run a tmux command and give what it prints."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TMUX")}
        done = subprocess.run(
            ["tmux", "-S", self.socket, "-f", "/dev/null", *command],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
            timeout=PATIENCE,
        )
        return done.stdout.strip()

    def new(self, session: str) -> tuple[str, str, int]:
        """Start a session; give its `$N`, its pane `%N` and the pid in that."""
        shown = "#{session_id} #{pane_id} #{pane_pid}"
        ids = self("new-session", "-d", "-P", "-F", shown, "-s", session, "cat").split()
        return ids[0], ids[1], int(ids[2])

    @property
    def pid(self) -> int:
        """The server's own pid."""
        return int(self("display-message", "-p", "#{pid}"))

    def end(self) -> None:
        """End the server, and wait until it is gone: it is there still for a moment after it has said goodbye."""
        with suppress(subprocess.CalledProcessError):  # there is none
            pid = self.pid
            self("kill-server")
            wait_for(lambda: not Path(f"/proc/{pid}").exists(), "the end of tmux")


@pytest.fixture
def tmux_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], TmuxServer]]:
    """Give a function that makes tmux servers, which end with the test."""
    servers: list[TmuxServer] = []

    def make() -> TmuxServer:
        servers.append(TmuxServer(tmp_path_factory.mktemp("tmux")))
        return servers[-1]

    yield make
    for server in servers:
        server.end()


@pytest.fixture
def tmux(tmux_server: Callable[[], TmuxServer]) -> TmuxServer:
    """A tmux server on a socket of its own, which starts with its first session."""
    return tmux_server()
