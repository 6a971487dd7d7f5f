"""The same work by others: each is a small program of its own, or a command, run where it is installed."""

import importlib.util
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
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

_ARM = {
    "stock watchdog": """
import sys, time
from watchdog.events import FileSystemEventHandler
from watchdog.observers import Observer
observer = Observer()
observer.schedule(FileSystemEventHandler(), sys.argv[1], recursive=True)
observer.start()
print("armed", flush=True)
sys.stdin.read()
""",
    "watchfiles": """
import sys, threading
from watchfiles import watch
stop = threading.Event()
watcher = watch(sys.argv[1], stop_event=stop, yield_on_timeout=True, rust_timeout=1)
next(watcher)
print("armed", flush=True)
sys.stdin.read()
""",
}
_MODULES = {"stock watchdog": "watchdog", "watchfiles": "watchfiles"}


@dataclass(frozen=True, slots=True)
class Armed:
    """How long a peer took to watch a workspace, in seconds, and its resident memory then, in MiB."""

    seconds: float
    memory: float


def walk(root: Path) -> float:
    """Time the stand-in for the original: a walk that looks at every entry, in Python; the whole process."""
    return _timed([sys.executable, "-S", "-c", _WALK, str(root)])


def find(root: Path) -> float:
    """Time a find with the same pruning; the whole process."""
    return _timed(["sh", "-c", f'exec find "$0" {_PRUNED}', str(root)])


def armed(root: Path) -> dict[str, Armed]:
    """Have each peer that is installed watch the workspace, one after the other."""
    taken: dict[str, Armed] = {}
    for name, program in _ARM.items():
        if importlib.util.find_spec(_MODULES[name]) is not None:
            taken[name] = _arm([sys.executable, "-c", program, str(root)])
    if shutil.which("inotifywait"):
        taken["inotifywait"] = _arm(["inotifywait", "-mr", "-e", "create,close_write", str(root)])
    return taken


def _timed(command: list[str]) -> float:
    began = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - began


def _arm(command: list[str]) -> Armed:
    began = time.monotonic()
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as peer:
        assert peer.stdout is not None
        while (line := peer.stdout.readline()) and b"armed" not in line and b"established" not in line:
            pass
        seconds = time.monotonic() - began
        pages = int(Path(f"/proc/{peer.pid}/statm").read_text().split()[1])
        peer.kill()
    return Armed(seconds, pages * os.sysconf("SC_PAGE_SIZE") / 2**20)
