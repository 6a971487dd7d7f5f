"""Names and values from the workspace may be anything: each command shows them escaped, and writes strict JSON."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.actors import DEADLINE
from tests.harness import environment
from watcher.locks.lockfile import encode

TROUBLE = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202e\u2028\r\n"
"""It would set the title, clear the screen, turn red, turn round and break the line."""

NAME = TROUBLE.encode() + b"\xff\xc3"
SPELLED = "\\xff\\xc3"

TEXTS = (
    ("scan",),
    ("clean", "--dry-run"),
    ("clean", "--yes"),
    ("lock", "show"),
    ("lock", "check"),
    ("lock", "acquire"),
    ("lock", "release"),
    ("run",),
)
OBJECTS = (*(words for words in TEXTS if words[0] != "run"), ("status",))


def lockwarden(home: Path, *words: bytes | str) -> "subprocess.CompletedProcess[bytes]":
    """Run a command to its end; it speaks UTF-8, and asks no tmux but one that is not there."""
    env = environment(home) | {"LOCKWARDEN_TMUX_SOCKETS": str(home / "no-server"), "PYTHONUTF8": "1"}
    command = [os.fsencode(word) for word in (sys.executable, "-m", "watcher", *words)]
    return subprocess.run(
        command, capture_output=True, stdin=subprocess.DEVNULL, env=env, timeout=DEADLINE, check=False
    )


def lock_of(home: Path, *, pid: int, hostname: str) -> bytes:
    """Write a lock full of trouble, in a directory whose name is trouble too, and give that."""
    worker = os.fsencode(home) + b"/town/" + NAME
    os.makedirs(worker + b"/.runtime")  # noqa: PTH103 - not UTF-8
    content = encode(
        pid=pid, acquired_ns=time.time_ns(), utc_offset=0, session_id=f"{TROUBLE}/{TROUBLE}", hostname=hostname
    )
    with open(worker + b"/.runtime/agent.lock", "wb") as file:  # noqa: PTH123 - as above
        file.write(content)
    return worker


@pytest.fixture(params=["a living process", "a dead process", "another host"])
def worker(home: Path, request: pytest.FixtureRequest) -> Iterator[bytes]:
    """Give a worker directory whose lock names a process and a session that is told to be gone."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process:
        if request.param == "a dead process":
            process.kill()
            process.wait(DEADLINE)
        yield lock_of(
            home, pid=process.pid, hostname=TROUBLE if request.param == "another host" else socket.gethostname()
        )
        process.kill()


def arguments(worker: bytes, words: tuple[str, ...]) -> list[bytes | str]:
    """Name the workspace to a command that looks at one, and the worker to another."""
    place = worker if words[0] in {"lock", "run"} else os.path.dirname(worker)  # noqa: PTH120 - not UTF-8
    return [*words, place, *(("--", "true") if words == ("run",) else ())]


@pytest.mark.parametrize("words", TEXTS, ids=" ".join)
def test_a_terminal_is_shown_printable_text_only(home: Path, worker: bytes, words: tuple[str, ...]) -> None:
    """Neither a worker's name nor a session nor a host does anything to the terminal, on stdout or stderr."""
    done = lockwarden(home, *arguments(worker, words))
    for line in (done.stdout + done.stderr).decode().split("\n"):
        assert line.isprintable()
        assert "\\udcff" not in line  # bytes are spelled as in the log
    assert b"Traceback" not in done.stderr
    assert done.stdout or done.stderr or words == ("run",)


@pytest.mark.parametrize("words", OBJECTS, ids=" ".join)
def test_json_is_ascii_that_any_reader_takes(home: Path, worker: bytes, words: tuple[str, ...]) -> None:
    """No control character and no lone surrogate; the exact bytes of the name are beside it."""
    done = lockwarden(home, *arguments(worker, words), "--json")
    [line] = done.stdout.splitlines()
    assert line.isascii()
    assert line.decode().isprintable()
    found: dict[str, Any] = json.loads(line)
    json.dumps(found, ensure_ascii=False).encode()
    for about in found["locks"] if words[0] in {"scan", "clean"} else [found] if words[0] == "lock" else []:
        assert about["worker"].endswith(SPELLED)
        assert bytes.fromhex(about["worker_hex"]).endswith(NAME)
        assert about["lock_path"].endswith(f"{SPELLED}/.runtime/agent.lock")


@pytest.mark.parametrize(
    "words",
    [("scan",), ("clean",), ("status",), ("watch",), ("tail",), ("lock", "show"), ("config", "check", "--config")],
)
def test_what_is_not_there_is_named_in_one_line(home: Path, words: tuple[str, ...]) -> None:
    """The name that a person gave comes back escaped, with the exit code of its error."""
    done = lockwarden(home, *words, os.fsencode(home) + b"/" + NAME)
    assert done.returncode in {2, 4}
    assert done.stdout == b""
    assert done.stderr.count(b"\n") == 1
    assert done.stderr.decode().removesuffix("\n").isprintable()


def test_a_config_file_of_any_name_is_fine(home: Path) -> None:
    """`config check` names the file that it read, and what it has in it, escaped."""
    path = os.fsencode(home) + b"/" + NAME
    with open(path, "wb") as file:  # noqa: PTH123 - not UTF-8
        file.write(b'rules.ignore_workers = ["\\u001b[2J"]\n')
    for words in (("config", "check"), ("config", "show")):
        done = lockwarden(home, *words, "--config", path)
        assert done.returncode == 0
        assert all(line.isprintable() for line in done.stdout.decode().split("\n"))
