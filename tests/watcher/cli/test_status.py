import json
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from rules.alerts import Alert, Step, Transition
from rules.model import Severity, Verdict
from rules.resolution import Resolution
from tests.rules.builders import HELD, finding
from watcher.cli import main
from watcher.settings.keys import KEYS
from watcher.state import Running, StateStore, StoredWorker, Vitals

HOUR = 3600.0


@pytest.fixture(autouse=True)
def bare_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the settings of whoever runs the tests out of them."""
    for name in (*(key.variable for key in KEYS.values()), "LOCKWARDEN_CONFIG", "STATE_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    monkeypatch.setattr("watcher.settings.file.SYSTEM_CONFIG", tmp_path / "etc" / "config.toml")


@pytest.fixture
def state(home: Path) -> str:
    """Give a state directory that is not there yet."""
    return str(home / "state")


@pytest.fixture
def started() -> float:
    """Say when the watcher began."""
    return time.time() - 2 * HOUR


@pytest.fixture
def store(state: str, workspace: Path, started: float) -> Iterator[StateStore]:
    """Give the state of a watcher that runs: this process."""
    store = StateStore(state, str(workspace))
    store.claim_watch(
        Running(pid=os.getpid(), since=started, version="1.2.3", backend="auto", workspace=str(workspace))
    )
    store.load()
    yield store
    store.close()


def firing(worker: str, severity: Severity, fingerprint: str, **changes: str) -> Transition:
    """Make the step by which an alert begins."""
    found = replace(finding(worker=worker), severity=severity, **changes)  # type: ignore[arg-type] # texts only
    return Transition(Step.FIRING, Alert(found, fingerprint * 16, time.time() - 90.0))


def vitals(**changes: object) -> Vitals:
    """Say how the watcher of this process is."""
    fields = {
        "at": time.time(),
        "pid": os.getpid(),
        "heartbeat_at": time.time() - 12.0,
        "backend": "inotify",
        "directories": 1234,
        "watches": 1200,
        "verdicts": {Verdict.HELD: 3, Verdict.STALE: 1, Verdict.ORPHAN: 0},
    }
    return Vitals(**{**fields, **changes})  # type: ignore[arg-type] # as Vitals checks


def busy(store: StateStore) -> None:
    """Have two alerts fire, and the watcher say how it is."""
    store.intend([
        firing("rig/crew/joe", Severity.WARNING, "a"),
        firing("rig/crew/eve", Severity.CRITICAL, "b", kind="collision", hint="look at both"),
    ])  # fmt: skip
    store.keep([StoredWorker("rig/crew/joe", HELD)])
    store.publish(vitals(degraded={"log": "stdout: nobody reads it"}, dropped=3))
    assert store.flush(30)


def run(state: str, workspace: Path, *options: str) -> int:
    """Ask."""
    return main(["status", str(workspace), "--state-dir", state, *options])


def test_where_none_runs(state: str, workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A workspace that nobody ever watched: exit code 3, and nothing is made on the way."""
    assert run(state, workspace) == 3
    assert capsys.readouterr() == (
        f"workspace  {workspace}\nwatcher    none has ever run here\n",
        "",
    )
    assert not Path(state).exists()


def test_where_one_runs(
    store: StateStore, state: str, workspace: Path, started: float, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who it is, how it is, and what is firing, worst first: exit code 0."""
    busy(store)
    assert run(state, workspace) == 0
    lines = capsys.readouterr().out.splitlines()
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(started))
    assert lines[:2] == [
        f"workspace  {workspace}",
        f"watcher    running, process {os.getpid()}, since {since} (2h), version 1.2.3",
    ]
    assert lines[2] == "backend    inotify, 1,200 watches on 1,234 directories"
    assert lines[3].startswith("heartbeat  1")
    assert lines[4:9] == [
        "locks      4: 3 held, 1 stale",
        "log        3 lines lost",
        "degraded   log: stdout: nobody reads it",
        "firing     2 alerts",
        "",
    ]
    assert lines[9].split() == ["FIRING", "WORKER", "FOR", "SINCE", "WHY"]
    assert [line.split("  ")[0] for line in lines[10:]] == ["critical collision", "warning stale"]
    assert lines[10].endswith("reason -> look at both")


def test_while_it_starts(store: StateStore, state: str, workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Before its first word, and with the last words of another run still there, it is starting."""
    store.publish(vitals(pid=os.getpid() + 1))
    assert store.flush(30)
    assert run(state, workspace) == 0
    assert "locks      not counted yet: it is starting" in capsys.readouterr().out


def test_after_it_ended(store: StateStore, state: str, workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 3, and what was firing then."""
    busy(store)
    store.close()
    assert run(state, workspace) == 3
    out = capsys.readouterr().out
    assert f"watcher    none; the last was process {os.getpid()}, last seen " in out
    assert "firing     2 alerts when it ended" in out
    assert "rig/crew/eve" in out


def test_json(
    store: StateStore, state: str, workspace: Path, started: float, capsys: pytest.CaptureFixture[str]
) -> None:
    """One object on one line, with the names and the times that the log has."""
    busy(store)
    assert run(state, workspace, "--json") == 0
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    found = json.loads(out)
    assert (found["workspace"], found["running"], found["pid"]) == (str(workspace), True, os.getpid())
    assert found["since"].startswith(time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(started)))
    assert found["locks"] == {"held": 3, "orphan": 0, "stale": 1}
    assert found["degraded"] == {"log": "stdout: nobody reads it"}
    assert {key: found[key] for key in ("backend", "watches", "directories", "dropped")} == {
        "backend": "inotify",
        "watches": 1200,
        "directories": 1234,
        "dropped": 3,
    }
    assert [(alert["kind"], alert["worker"], alert["fingerprint"]) for alert in found["firing"]] == [
        ("stale", "rig/crew/joe", "a" * 16),
        ("collision", "rig/crew/eve", "b" * 16),
    ]
    store.intend(
        [Transition(Step.RESOLVED, replace(firing("rig/crew/joe", Severity.WARNING, "a").alert), Resolution.RELEASED)]
    )
    store.close()
    assert run(state, workspace, "--json") == 3
    assert json.loads(capsys.readouterr().out)["running"] is False


def test_what_lies_in_the_data_stays_out_of_the_terminal(
    store: StateStore, state: str, workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Escape sequences, newlines and bytes that are not UTF-8 are spelled out, in the table and in JSON."""
    store.intend([firing("rig/\x1b[2J\ncaf\udce9", Severity.WARNING, "a", reason="gone\x07", hint="ls \x9b1m")])
    store.publish(vitals(degraded={"log": "\x1b]0;owned\x07"}, backend="in\x1botify"))
    assert store.flush(30)
    for options in ([], ["--json"]):
        assert run(state, workspace, *options) == 0
        out = capsys.readouterr().out
        assert all(line.isprintable() for line in out.splitlines())
        out.encode()
    assert run(state, workspace, "--json") == 0
    assert json.loads(capsys.readouterr().out)["firing"][0]["worker"] == "rig/\x1b[2J\ncaf\\xe9"


def test_a_state_file_that_cannot_be_read(
    store: StateStore, state: str, workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where what fires is not known, that is what is said."""
    busy(store)
    (next(Path(state).iterdir()) / "state.jsonl").write_text("noise\n")
    assert run(state, workspace) == 0
    assert "firing     not known: " in capsys.readouterr().out


def test_of_no_workspace(state: str, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A path that is no directory, and that nobody watched, is an error and not "none runs"."""
    assert run(state, home / "twon") == 4
    assert "twon: no such file or directory" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--live"], "lockwarden: status: --live needs a terminal: leave it out, or use --json\n"),
        (["--live", "--json"], "lockwarden: status: --live draws for a person: leave out --json\n"),
    ],
)
def test_live_without_a_terminal(
    options: list[str], message: str, state: str, workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A usage error, before anything is drawn."""
    assert run(state, workspace, *options) == 2
    assert capsys.readouterr() == ("", message)
