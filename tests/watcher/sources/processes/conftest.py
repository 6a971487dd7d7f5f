"""Processes of a test's own, and PID namespaces where the system lets us have them."""

import subprocess
from collections.abc import Iterator

import pytest

from tests.watcher.sources.processes.world import Processes
from watcher.sources.processes import watch as processes_module


@pytest.fixture
def processes() -> Iterator[Processes]:
    """Start processes that end with the test."""
    started = Processes()
    yield started
    started.end()


@pytest.fixture(scope="session")
def new_pids() -> tuple[str, ...]:
    """Give the command that runs another in a PID namespace of its own, as root or in a user namespace."""
    for flags in ("-pf", "-Urpf"):
        command = ("unshare", flags, "--kill-child", "--mount-proc")
        try:
            done = subprocess.run([*command, "true"], capture_output=True, check=False, timeout=30)
        except FileNotFoundError:
            break
        if done.returncode == 0:
            return command
    pytest.skip("no PID namespaces to be had")


@pytest.fixture
def polled_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Poll every 20 ms, not every second: what is tested is that polling finds out, not when."""
    monkeypatch.setattr(processes_module, "_POLL", 0.02)
