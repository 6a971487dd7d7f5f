"""A scripted agent: takes the lock of a worker as the real writers do, and stays or goes.

    python tests/agent.py WORKER [--how in-place|rename] [--remove] [--session ID] [--host NAME] [--pid N]
                          [--acquired-at TIME] [--stay SECONDS] [--until FIFO] [--ignore-hup] [--again]

`--session` defaults to `$TMUX_PANE`. `--remove` removes the lock before it writes it. Prints its pid once the lock
is written, then stays for `--stay` seconds, or until somebody opens the FIFO and closes it; with `--again` it writes
the lock once more for each line that it reads, and prints how many seconds that took. Standard library only: what
writes locks in a test must not share code with what reads them.
"""

import argparse
import contextlib
import json
import os
import signal
import socket
import sys
import time
from datetime import UTC, datetime


def main() -> None:
    """Write the lock, say so, stay."""
    arguments = _arguments()
    if arguments.ignore_hup:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    take(arguments)
    print(os.getpid(), flush=True)  # noqa: T201 - its answer
    if arguments.again:
        for _ in sys.stdin:
            print(take(arguments), flush=True)  # noqa: T201 - its answer
    if arguments.until:
        with open(arguments.until, "rb") as fifo:  # noqa: PTH123 - as below
            fifo.read()
    time.sleep(arguments.stay)


def take(arguments: argparse.Namespace) -> float:
    """Write the lock as it is to be written; say within how many seconds it was gone and there again."""
    record = {
        "pid": arguments.pid or os.getpid(),
        "acquired_at": arguments.acquired_at or datetime.now(UTC).isoformat().replace("+00:00", "Z"),
        "session_id": arguments.session,
        "hostname": arguments.host,
    }
    lock = os.path.join(arguments.worker, ".runtime", "agent.lock")  # noqa: PTH118 - names may be bytes that are not UTF-8
    os.makedirs(os.path.dirname(lock), exist_ok=True)  # noqa: PTH103, PTH120 - as above
    text = json.dumps({name: value for name, value in record.items() if value}, indent=2)
    written = lock + ".tmp" if arguments.how == "rename" else lock
    began = time.monotonic()
    if arguments.remove:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(lock)  # noqa: PTH108 - as above
    with open(written, "w", encoding="utf-8") as file:  # noqa: PTH123 - as above
        file.write(text)
    if written != lock:
        os.replace(written, lock)  # noqa: PTH105 - as above
    return time.monotonic() - began


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("worker")
    parser.add_argument("--how", choices=("in-place", "rename"), default="in-place")
    parser.add_argument("--remove", action="store_true")
    parser.add_argument("--session", default=os.environ.get("TMUX_PANE", ""))
    parser.add_argument("--host", default=socket.gethostname())
    parser.add_argument("--pid", type=int)
    parser.add_argument("--acquired-at")
    parser.add_argument("--stay", type=float, default=0.0)
    parser.add_argument("--until")
    parser.add_argument("--ignore-hup", action="store_true")
    parser.add_argument("--again", action="store_true")
    return parser.parse_args()


if __name__ == "__main__":
    main()
