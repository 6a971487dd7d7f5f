"""Rules of other packages."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.actors import Agent
from tests.harness import Watching

_RULE = """
from rules.model import Finding, Severity

def overtime(view, policy):
    if view.claim is not None and view.claim.record.session_id == "late":
        yield Finding(
            kind="overtime", worker=view.worker, workers=(view.worker,), severity=Severity.ERROR,
            reason="it is late", hint="go home", claim=view.claim,
        )

def broken(view, policy):
    raise RuntimeError("broken for good")
"""

Install = Callable[..., dict[str, str]]


@pytest.fixture
def install(home: Path) -> Install:
    """Install a package with rules, and give the environment in which it is found."""

    def make(**rules: str) -> dict[str, str]:
        about = home / "lib" / "my_rules-1.dist-info"
        about.mkdir(parents=True)
        (home / "lib" / "my_rules.py").write_text(_RULE)
        (about / "METADATA").write_text("Metadata-Version: 2.1\nName: my-rules\nVersion: 1\n")
        points = "".join(f"{name} = {target}\n" for name, target in rules.items())
        (about / "entry_points.txt").write_text(f"[lockwarden.rules]\n{points}")
        return {"PYTHONPATH": f"{Path(__file__).parents[2]}:{home / 'lib'}"}

    return make


def test_a_rule_of_another_package_finds_and_resolves(workspace: Path, home: Path, install: Install) -> None:
    """A rule that comes in by its entry point raises an alert of its own kind, and its silence resolves it."""
    env = install(overtime="my_rules:overtime")
    with Watching(workspace, home, "--no-tmux", env=env) as watching:
        with Agent(workspace / "ada", "--session", "late"):
            firing = watching.wait("alert.firing", kind="overtime")
            assert (firing["severity"], firing["level"], firing["hint"]) == ("error", "error", "go home")
            (workspace / "ada" / ".runtime" / "agent.lock").unlink()
        watching.wait("alert.resolved", kind="overtime", reason="released")


def test_a_rule_that_raises_is_switched_off(workspace: Path, home: Path, install: Install) -> None:
    """A rule that raises is told once, with its traceback, and the other rules go on."""
    env = install(broken="my_rules:broken")
    with Watching(workspace, home, "--no-tmux", env=env) as watching:
        for name in ("ada", "bob"):
            with Agent(workspace / name, "--session", ""):
                watching.wait("lock.acquired", worker=name)
            watching.wait("alert.firing", kind="stale", worker=name)
        degraded = [line for line in watching.lines if line["event"] == "watcher.degraded"]
        assert [(line["component"], "broken for good" in line["reason"]) for line in degraded] == [("config", True)]


def test_a_rule_that_cannot_be_loaded_is_told(workspace: Path, home: Path, install: Install) -> None:
    """An entry point that leads nowhere, or bears the name of a rule of ours, is told at the start."""
    env = install(stale="my_rules:overtime", lost="my_rules:nothing")
    with Watching(workspace, home, "--no-tmux", env=env) as watching:
        reasons = [watching.wait("watcher.degraded", component="config")["reason"] for _ in range(2)]
        assert {reason.split()[2] for reason in reasons} == {"stale", "lost"}
