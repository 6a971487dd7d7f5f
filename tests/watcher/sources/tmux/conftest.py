import asyncio
import contextlib
import os
import pickle
import random
import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import psutil
import pytest

from rules.model import Moment
from watcher.events import Event, ServersSeen, Sessions, SessionsSeen, Unreachable
from watcher.sources.tmux.server import TmuxOptions
from watcher.sources.tmux.watch import TmuxHealth, TmuxWatch

DEADLINE = 30.0

T = TypeVar("T")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the tests that want a tmux where there is none."""
    if shutil.which("tmux") is None:
        for item in items:
            if "tmux_server" in getattr(item, "fixturenames", ()):
                item.add_marker(pytest.mark.skip(reason="needs tmux"))


class TmuxServer:
    """A tmux server on a socket of its own, without a configuration file. `user` is whose it is."""

    def __init__(self, socket: Path, user: int | None = None) -> None:
        self.socket = str(socket)
        self._user = user
        self._pids: set[int] = set()

    def run(self, *command: str) -> str:
        """Run one tmux command as the server's user, and return what it prints."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TMUX")}
        finished = subprocess.run(
            ["tmux", "-u", "-f", "/dev/null", "-S", self.socket, *command],
            check=True,
            capture_output=True,
            text=True,
            env=environment,
            user=self._user,
            group=self._user,
            extra_groups=None if self._user is None else [],
            cwd="/",
        )
        return finished.stdout.rstrip("\n")

    def start(self, session: str = "first", *command: str) -> str:
        """Create a session, and the server with the first of them; return its pane."""
        pane = self.run(
            "new-session", "-d", "-s", session, "-P", "-F", "#{pane_id}", *(command or ("exec sleep 1000",))
        )
        self._pids.add(self.pid)
        return pane

    @property
    def pid(self) -> int:
        """The process id of the server."""
        return int(self.show("#{pid}"))

    def show(self, form: str, target: str = "") -> str:
        """Expand a format."""
        return self.run("display-message", "-p", *(("-t", target) if target else ()), form)

    def kill(self) -> None:
        """Have the server end, whatever state it and its socket are in, and wait until it is gone."""
        for pid in self._pids:
            with contextlib.suppress(psutil.NoSuchProcess):
                process = psutil.Process(pid)
                if process.name() == "tmux: server":
                    process.resume()
                    process.terminate()
            wait_for(partial(gone, pid))
        self._pids.clear()


class Recorder:
    """A `TmuxWatch` and all that it said."""

    def __init__(self, options: TmuxOptions) -> None:
        self.events: list[Event] = []
        self.health: list[TmuxHealth] = []
        self._news = asyncio.Event()
        self.watch = TmuxWatch(asyncio.get_running_loop(), options, self._post, self._on_health, now)

    async def until(self, fact: Callable[[], T | None]) -> T:
        """Wait until `fact` says something else than None or False; it is looked at after each event."""
        async with asyncio.timeout(DEADLINE):
            while not (value := fact()):
                self._news.clear()
                await self._news.wait()
        return value

    def forget(self) -> None:
        """Forget what was said."""
        self.events.clear()
        self.health.clear()

    def answer(self, socket: str) -> Sessions | Unreachable | None:
        """What a server answered last."""
        return next(reversed(self.answers(socket)), None)

    def answers(self, socket: str) -> list[Sessions | Unreachable]:
        """What a server answered, oldest first."""
        return [event.answer for event in self.events if isinstance(event, SessionsSeen) and event.socket == socket]

    def panes(self, socket: str) -> dict[str, str]:
        """The living panes that a server has by its last answer, and the names of their sessions."""
        answer = self.answer(socket)
        return {p.pane: p.name for p in answer.panes if not p.dead} if isinstance(answer, Sessions) else {}

    def sockets(self, uid: int) -> frozenset[str] | Unreachable | None:
        """The servers that a user has, as said last."""
        said = [event.sockets for event in self.events if isinstance(event, ServersSeen) and event.uid == uid]
        return said[-1] if said else None

    def reachable(self, uid: int) -> frozenset[str]:
        """The servers of a user that can be asked, as said last."""
        said = [event.reachable for event in self.events if isinstance(event, ServersSeen) and event.uid == uid]
        return said[-1] if said else frozenset()

    def _post(self, event: Event) -> None:
        self.events.append(event)
        self._news.set()

    def _on_health(self, health: TmuxHealth) -> None:
        self.health.append(health)
        self._news.set()


def now() -> Moment:
    """Read both clocks."""
    return Moment(time.time(), time.monotonic())


def gone(pid: int) -> bool:
    """Whether a process has ended; a zombie that its parent leaves lying has."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def wait_for(fact: Callable[[], T]) -> T:
    """Wait until `fact` is true of the system."""
    deadline = time.monotonic() + DEADLINE
    while not (value := fact()):
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.005)
    return value


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory with a short path (a socket's has at most 107 bytes) that everybody may enter."""
    path = Path(tempfile.mkdtemp(prefix="lw-", dir="/tmp"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def tmux_server(directory: Path) -> Iterator[Callable[..., TmuxServer]]:
    """Make tmux servers; they end with the test."""
    servers: list[TmuxServer] = []

    def make(socket: Path | str = "s", user: int | None = None) -> TmuxServer:
        servers.append(TmuxServer(directory / socket, user))
        return servers[-1]

    yield make
    for server in servers:
        server.kill()


@pytest.fixture
def stranger() -> Iterator[int]:
    """A user id that nobody has, with no tmux server and no socket directory; for root only."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to start tmux as another user")
    uid = random.SystemRandom().randrange(200_000, 2_000_000_000)
    yield uid
    shutil.rmtree(f"/tmp/tmux-{uid}", ignore_errors=True)


@pytest.fixture
def recording() -> Callable[..., contextlib.AbstractAsyncContextManager[Recorder]]:
    """Run a `TmuxWatch` for some users, started, and closed at the end."""

    @contextlib.asynccontextmanager
    async def record(options: TmuxOptions, uids: Iterable[int] = (os.geteuid(),)) -> AsyncIterator[Recorder]:
        recorder = Recorder(options)
        await recorder.watch.start(uids)
        try:
            yield recorder
        finally:
            await recorder.watch.close()

    return record


@pytest.fixture
def until() -> Callable[[Callable[[], T]], T]:
    """Wait until something is true of the system."""
    return wait_for


@pytest.fixture
def clock() -> Callable[[], Moment]:
    """Both clocks."""
    return now


@pytest.fixture
def as_user() -> Callable[..., Any]:
    """Call a function in a child process that is another user, and return what it returns."""

    def call(uid: int, function: Callable[[], object]) -> object:
        readable, writable = os.pipe()
        child = os.fork()
        if child == 0:
            with contextlib.suppress(BaseException):
                os.setgroups([])
                os.setgid(uid)
                os.setuid(uid)
                os.write(writable, pickle.dumps(function()))
            os._exit(0)
        os.close(writable)
        with os.fdopen(readable, "rb") as pipe:
            answer = pipe.read()
        os.waitpid(child, 0)
        return pickle.loads(answer)  # noqa: S301 - our own child wrote it

    return call
