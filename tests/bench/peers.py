"""The same work by others: each is a command, or a small program of its own, run where it is installed."""

import importlib.util
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

_PRUNED = r"\( -name .git -o -name node_modules -o -name target \) -prune -o -path */.runtime/agent.lock -print"

_WALK = """
import os, sys
skip = {".git", "node_modules", "vendor", "target", "build", "dist", ".gradle", ".m2", "bazel-out", "bazel-bin"}
found = 0
for path, directories, files in os.walk(sys.argv[1]):
    directories[:] = [name for name in directories if name not in skip]
    for name in (*directories, *files):
        os.lstat(os.path.join(path, name))
    found += "agent.lock" in files and os.path.basename(path) == ".runtime"
print(found)
"""

_WATCHDOG = """
import os, sys
from watchdog.events import FileSystemEventHandler
from watchdog.observers import Observer
class Handler(FileSystemEventHandler):
    def on_any_event(self, event):
        if event.src_path.endswith("/agent.lock"):
            os.write(1, event.src_path.encode() + b"\\n")
observer = Observer()
observer.schedule(Handler(), sys.argv[1], recursive=True)
observer.start()
os.write(1, b"armed\\n")
sys.stdin.read()
"""

_WATCHFILES = """
import os, sys
from watchfiles import watch
watcher = watch(sys.argv[1], watch_filter=None, yield_on_timeout=True, rust_timeout=100, debounce=1, step=1)
next(watcher)
os.write(1, b"armed\\n")
for changes in watcher:
    for _, path in changes:
        if path.endswith("/agent.lock"):
            os.write(1, path.encode() + b"\\n")
"""

_LOOK = 0.1
_PATIENCE = 120


@dataclass(frozen=True, slots=True)
class Peer:
    """Somebody else's way to watch a tree: the command, which says a path a line, and when it is armed.

    `says` is in the line by which it tells that it is armed. One that tells nothing counts as armed when the
    kernel holds a watch for each directory (proc(5), fdinfo), which is looked at ten times a second.
    """

    name: str
    command: Callable[[Path], list[str]]
    says: bytes = b""
    module: str = ""

    @property
    def installed(self) -> bool:
        """Whether it can be run here."""
        if self.module:
            return importlib.util.find_spec(self.module) is not None
        return shutil.which(self.name) is not None


def _program(text: str) -> Callable[[Path], list[str]]:
    return lambda root: [sys.executable, "-c", text, str(root)]


_INOTIFYWAIT = ("inotifywait", "-mr", "--format", "%w%f", "-e", "create,close_write,moved_to")


def _watchman(root: Path) -> list[str]:
    """Run a server of our own, which is told to watch `root` at once by the state that it finds."""
    home = root.parent / "watchman"
    home.mkdir(exist_ok=True)
    state = home / "state"
    state.write_text(f'{{"version": "4.9.0", "watched": [{{"path": "{root}", "triggers": []}}]}}')
    places = [f"--sockname={home}/s", f"--statefile={state}", f"--logfile={home}/log", f"--pidfile={home}/pid"]
    return ["watchman", "--foreground", *places]


PEERS = (
    Peer("stock watchdog", _program(_WATCHDOG), b"armed", "watchdog"),
    Peer("watchfiles", _program(_WATCHFILES), b"armed", "watchfiles"),
    Peer("inotifywait", lambda root: [*_INOTIFYWAIT, str(root)], b"established"),
    Peer("fswatch", lambda root: ["fswatch", "-r", "-m", "inotify_monitor", str(root)]),
    Peer("watchman", _watchman),
)


@dataclass(slots=True)
class Armed:
    """A peer that watches: seconds until it was armed, its resident memory then in MiB, when it said each path."""

    seconds: float
    memory: float
    process: subprocess.Popen[bytes]
    seen: dict[str, float] = field(default_factory=dict)

    def wait(self, path: str, patience: float) -> float | None:
        """Give when it said a path, None where it did not within `patience` seconds."""
        deadline = time.monotonic() + patience
        while path not in self.seen and time.monotonic() < deadline:
            time.sleep(0.0005)
        return self.seen.get(path)


@contextmanager
def armed(peer: Peer, root: Path, directories: int) -> Iterator[Armed]:
    """Have a peer watch a tree of so many directories; raises TimeoutError where it takes two minutes."""
    began = time.monotonic()
    with subprocess.Popen(
        peer.command(root), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        assert process.stdout is not None
        try:
            if peer.says:
                while (line := process.stdout.readline()) and peer.says not in line:
                    pass
            else:
                while process.poll() is None and _watches(process.pid) < directories:
                    if time.monotonic() - began > _PATIENCE:
                        raise TimeoutError(f"{peer.name} took more than {_PATIENCE} s")
                    time.sleep(_LOOK)
            result = Armed(time.monotonic() - began, memory(process.pid), process)
            threading.Thread(target=_listen, args=(result,), daemon=True).start()
            yield result
        finally:
            process.kill()


def memory(pid: int) -> float:
    """Give the resident memory of a process, in MiB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def walk(root: Path) -> float:
    """Time the stand-in for the original: a walk that looks at every entry, in Python; the whole process."""
    return _timed([sys.executable, "-S", "-c", _WALK, str(root)])


def find(root: Path) -> float:
    """Time a find with the same pruning; the whole process."""
    return _timed(["sh", "-c", f'exec find "$0" {_PRUNED}', str(root)])


def _timed(command: list[str]) -> float:
    began = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - began


def _watches(pid: int) -> int:
    """Count the inotify watches of a process (proc(5), fdinfo)."""
    count = 0
    for name in _descriptors(pid):
        try:
            count += Path(f"/proc/{pid}/fdinfo/{name}").read_text().count("inotify wd:")
        except OSError:
            continue
    return count


def _descriptors(pid: int) -> list[str]:
    """Name the descriptors of a process that are inotify instances."""
    found = []
    for name in os.listdir(f"/proc/{pid}/fd"):  # noqa: PTH208 - only the names are wanted
        try:
            if "inotify" in os.readlink(f"/proc/{pid}/fd/{name}"):  # noqa: PTH115 - it is no path
                found.append(name)
        except OSError:
            continue
    return found


def _listen(peer: Armed) -> None:
    assert peer.process.stdout is not None
    rest = b""
    while True:
        try:
            chunk = os.read(peer.process.stdout.fileno(), 1 << 16)
        except (OSError, ValueError):
            return
        if not chunk:
            return
        at = time.monotonic()
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            peer.seen.setdefault(os.fsdecode(line), at)
