"""From the death of an owner or a session to the line."""

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from tests.actors import Tmux, wait_for
from tests.bench.figures import Figure, spread
from tests.bench.subject import Subject

_SLEEPER = ["sleep", "600"]
_DEAF = "trap '' HUP; exec sleep 600"


def write_lock(worker: Path, pid: int, session: str = "") -> None:
    """Take a worker's lock for a process, in place, as the older writer does."""
    runtime = worker / ".runtime"
    runtime.mkdir(parents=True, exist_ok=True)
    record = {"pid": pid, "acquired_at": datetime.now(UTC).isoformat(), "session_id": session}
    (runtime / "agent.lock").write_text(json.dumps(record))


class Remote:
    """A control client of the bench's own: an act is one write to it, not the start of a process."""

    def __init__(self, tmux: Tmux) -> None:
        tmux.session("keeper")
        self._client = subprocess.Popen(
            ["tmux", "-u", "-S", str(tmux.path), "-C", "attach", "-t", "keeper"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            env={name: value for name, value in os.environ.items() if not name.startswith("TMUX")},
        )

    def __call__(self, command: str) -> float:
        """Send a command; return when."""
        assert self._client.stdin is not None
        at = time.monotonic()
        self._client.stdin.write(f"{command}\n".encode())
        self._client.stdin.flush()
        return at

    def close(self) -> None:
        """Let it end with its server."""
        assert self._client.stdin is not None
        with contextlib.suppress(OSError):
            self._client.stdin.close()
        self._client.wait()


def figures(home: Path, rounds: int, idle: float, many: int) -> Iterator[Figure]:
    """Measure, each act `rounds` times; be idle for `idle` seconds; compare 100 locks with `many`."""
    yield Figure("owner killed, no session in the lock -> stale", spread(_owner_killed(home, rounds)), "1 / 5 ms")
    yield from _with_tmux(home, rounds)
    yield _server_killed(home)
    yield _idle(home, idle)
    yield from _among(home, rounds, many)


def _town(home: Path, name: str) -> Path:
    town = home / name
    town.mkdir()
    return town


def _owner_killed(home: Path, rounds: int) -> list[float]:
    town = _town(home, "killed")
    with Subject(town, home, "--no-tmux", "--no-state") as subject:
        return [_kill_one(subject, town / f"w{turn}") for turn in range(rounds)]


def _kill_one(subject: Subject, worker: Path) -> float:
    with subprocess.Popen(_SLEEPER) as owner:
        write_lock(worker, owner.pid)
        subject.event("lock.acquired", worker=worker.name)
        at = time.monotonic()
        owner.kill()
        return subject.event("alert.firing", worker=worker.name) - at


def _with_tmux(home: Path, rounds: int) -> Iterator[Figure]:
    town = _town(home, "tmux")
    with Tmux(home / "s") as tmux:
        remote = Remote(tmux)
        options = ("--no-state", "--tmux-socket", str(tmux.path), "--orphan-hold", "0")
        with Subject(town, home, *options) as subject:
            stale, orphan, back = [], [], []
            for turn in range(rounds):
                stale.append(_owner_and_session(subject, tmux, town / f"both{turn}"))
                one, two = _session_only(subject, tmux, remote, town / f"deaf{turn}")
                orphan.append(one)
                back.append(two)
        remote.close()
    yield Figure("owner and its session killed -> stale", spread(stale), "6 / 15 ms")
    yield Figure("session killed, owner ignores SIGHUP -> orphan (hold 0)", spread(orphan), "7 / 15 ms")
    yield Figure("session back (same name) -> resolved", spread(back), "10 / 30 ms")


def _session(tmux: Tmux, name: str, command: str) -> int:
    return int(tmux("new-session", "-d", "-s", name, "-P", "-F", "#{pane_pid}", command))


def _owner_and_session(subject: Subject, tmux: Tmux, worker: Path) -> float:
    pid = _session(tmux, worker.name, "exec sleep 600")
    write_lock(worker, pid, worker.name)
    subject.event("lock.acquired", worker=worker.name)
    at = time.monotonic()
    os.kill(pid, 9)
    return subject.event("alert.firing", worker=worker.name, kind="stale") - at


def _session_only(subject: Subject, tmux: Tmux, remote: Remote, worker: Path) -> tuple[float, float]:
    pid = _session(tmux, worker.name, _DEAF)
    write_lock(worker, pid, worker.name)
    subject.event("lock.acquired", worker=worker.name)
    wait_for(lambda: Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"sleep"), "the owner to ignore SIGHUP")
    at = remote(f"kill-session -t {worker.name}")
    orphan = subject.event("alert.firing", worker=worker.name, kind="orphan") - at
    at = remote(f"new-session -d -s {worker.name} 'exec sleep 600'")
    back = subject.event("alert.resolved", worker=worker.name) - at
    os.kill(pid, 9)
    remote(f"kill-session -t {worker.name}")
    subject.event("alert.firing", worker=worker.name, kind="stale")
    return orphan, back


def _server_killed(home: Path, locks: int = 60) -> Figure:
    town = _town(home, "server")
    with Tmux(home / "k") as tmux:
        tmux.session("keeper")
        with Subject(town, home, "--no-state", "--tmux-socket", str(tmux.path)) as subject:
            server = int(tmux("display-message", "-p", "#{pid}"))
            for number in range(locks):
                write_lock(town / f"w{number}", _session(tmux, f"w{number}", "exec sleep 600"), f"w{number}")
                subject.event("lock.acquired", worker=f"w{number}")
            at = time.monotonic()
            os.kill(server, 15)
            last = max(subject.event("alert.firing", kind="stale") for _ in range(locks))
    return Figure(f"server killed under {locks} locks -> the last line", f"{1000 * (last - at):.0f} ms", "100 ms")


def _idle(home: Path, seconds: float) -> Figure:
    town = _town(home, "idle")
    with contextlib.ExitStack() as opened:
        servers = [opened.enter_context(Tmux(home / f"i{number}")) for number in range(3)]
        for server in servers:
            server.session("first")
        sockets = [word for server in servers for word in ("--tmux-socket", str(server.path))]
        for number in range(200):
            write_lock(town / f"w{number}", os.getpid(), "first")
        subject = opened.enter_context(Subject(town, home, "--no-state", *sockets))
        subject.wait(lambda line: line["event"] == "lock.acquired" and len(subject.lines) > 200)
        time.sleep(2)  # what the start leaves behind is no idleness
        cpu, forks, at = subject.cpu(), _forks(), time.monotonic()
        time.sleep(seconds)
        used, spent, begun = subject.cpu() - cpu, time.monotonic() - at, _forks() - forks
    share = 100 * used / spent
    return Figure(
        f"idle for {spent:.0f} s with 200 locks and 3 servers",
        f"{share:.3f} % of a core, {begun} processes started on the machine",
        "0.1 %, 0",
    )


def _forks() -> int:
    stat = Path("/proc/stat").read_text()
    return int(next(line for line in stat.splitlines() if line.startswith("processes")).split()[1])


def _among(home: Path, rounds: int, many: int) -> Iterator[Figure]:
    few = _kill_among(home, 100, rounds)
    for count in (many // 10, many):
        lots = _kill_among(home, count, rounds)
        yield Figure(
            f"owner killed among {count:,} locks, against among 100",
            f"{1000 * lots:.2f} ms, {1000 * few:.2f} ms p50: {lots / few:.2f} times",
            "1.5 times",
        )


def _kill_among(home: Path, count: int, rounds: int) -> float:
    town = _town(home, f"among{count}")
    for number in range(count):
        write_lock(town / f"o{number}", os.getpid())
    with Subject(town, home, "--no-tmux", "--no-state") as subject:
        taken = sorted(_kill_one(subject, town / f"w{turn}") for turn in range(rounds))
    return taken[len(taken) // 2]
