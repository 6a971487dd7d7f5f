"""Each setting changes what a running watcher says: through its option where it has one, else in the config file."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import pytest

from rules.model import Kind
from tests.actors import DEADLINE, Agent, Tmux, prime, troubles, wait_for
from tests.harness import Watching, environment, given, held_for, lines_of, moment, parsed, told, watching_tmux
from watcher.settings.keys import KEYS

NOT_BUILT = frozenset({"metrics.listen", "metrics.file", "otlp.endpoint", "alertmanager.url"})
"""The settings of features that are not there yet. Whoever builds one takes it out, and shows it below."""

NO_SESSION = ("--session", "")
NOWHERE: Mapping[str, object] = {"tmux.sockets": ["/nonexistent/tmux"]}
"""No tmux server can be found there."""
RULES = ("stale", "orphan", "collision", "invalid")
AT_ONCE = {"rules.orphan.hold": 0, "rules.invalid.grace": 0}
"""So that all four alerts come in the same moment as the verdicts that they rest on."""

_Test = TypeVar("_Test", bound=Callable[..., None])
SHOWN: set[str] = set()


def shows(*paths: str) -> Callable[[_Test], _Test]:
    """Mark a test as one in which the output changes by these settings."""
    SHOWN.update(paths)
    return lambda test: test


def test_every_setting_is_shown() -> None:
    """A new key has a test below, or is known not to be built."""
    assert KEYS.keys() == SHOWN | NOT_BUILT
    assert not SHOWN & NOT_BUILT


@contextmanager
def troubled(home: Path, workspace: Path, settings: Mapping[str, object]) -> Iterator[Watching]:
    """Run a watcher with these settings while there is one trouble of each kind; there is no tmux to be found."""
    options = given(home, {**NOWHERE, **settings})
    with Watching(workspace, home, *options) as watching, troubles(workspace):
        yield watching


@shows(*(f"rules.{kind}.severity" for kind in RULES))
def test_how_loud_an_alert_is(home: Path, workspace: Path) -> None:
    """The severity is the level of the alert's line."""
    severities = {"stale": "error", "orphan": "info", "collision": "warning", "invalid": "critical"}
    with troubled(home, workspace, {f"rules.{kind}.severity": each for kind, each in severities.items()}) as watching:
        for _ in RULES:
            alert = watching.wait("alert.firing")
            assert alert["level"] == alert["severity"] == severities.pop(alert["kind"])


@shows(*(f"rules.{kind}.repeat" for kind in RULES))
def test_how_often_an_alert_is_repeated(home: Path, workspace: Path) -> None:
    """It is written again and again, where it would have been in an hour."""
    with troubled(home, workspace, {f"rules.{kind}.repeat": "100ms" for kind in RULES}) as watching:
        repeated: set[str] = set()
        while repeated != set(RULES):
            repeated.add(watching.wait("alert.repeated")["kind"])


@shows(*(f"rules.{kind}.hold" for kind in RULES))
def test_how_long_a_finding_must_last(home: Path, workspace: Path) -> None:
    """No alert comes before the hold is over."""
    with troubled(home, workspace, {f"rules.{kind}.hold": "1.5s" for kind in RULES}) as watching:
        assert all(held_for(watching.wait("alert.firing")) >= 1.5 for _ in RULES)


@shows(*(f"rules.{kind}.enabled" for kind in RULES))
def test_a_rule_is_off(home: Path, workspace: Path) -> None:
    """The verdicts are told as ever, and no alert is."""
    settings = AT_ONCE | {f"rules.{kind}.enabled": False for kind in RULES}
    with troubled(home, workspace, settings) as watching:
        seen: set[str] = set()
        while not {"stale", "orphan", "invalid", "replaced"} <= seen:
            line = watching.find(lambda line: line["event"].startswith("lock."), "verdict")
            seen |= {line["verdict"], line["event"].removeprefix("lock.")}
        watching.quiet(workspace)
        assert watching.alerts() == []


@shows("rules.ignore_workers", *(f"rules.{kind}.ignore_workers" for kind in RULES))
def test_workers_are_ignored(home: Path, workspace: Path) -> None:
    """By one rule or by all: of three troubles of each kind one is told."""
    ignored = {f"rules.{kind}.ignore_workers": ["calm/*"] for kind in RULES} | {"rules.ignore_workers": ["mute/*"]}
    options = given(home, {**AT_ONCE, **ignored, **NOWHERE})
    with (
        Watching(workspace, home, *options) as watching,
        troubles(*(workspace / place for place in ("calm", "mute", "loud"))),
    ):
        alerts = [watching.wait("alert.firing") for _ in RULES]
        watching.quiet(workspace)
        assert sorted(alert["worker"] for alert in alerts) == sorted(f"loud/{kind}" for kind in RULES)
        assert len(watching.alerts()) == len(RULES)


@shows("rules.stale.require_dead_session")
def test_a_dead_process_is_enough_for_an_alert(home: Path, workspace: Path) -> None:
    """The alert fires on a lock whose session lives; the verdict stays what it is."""
    options = given(home, {"rules.stale.require_dead_session": False})
    with watching_tmux(workspace, home, *options, sessions=["ada"]) as (watching, _, [pane]):
        prime(workspace / "a", "--session", pane)
        assert watching.wait("alert.firing", kind="stale")["verdict"] == "held_by_session"


@shows("rules.collision.window")
def test_how_late_a_lock_still_replaces_another(home: Path, workspace: Path) -> None:
    """A lock that another owner writes long after the deletion is still put in its place, where the window is long."""
    with (
        Watching(workspace, home, "--no-tmux", *given(home, {"rules.collision.window": "1h"})) as watching,
        Agent(workspace / "a", *NO_SESSION),
    ):
        watching.wait("lock.acquired")
        (workspace / "a" / ".runtime" / "agent.lock").unlink()
        deleted = time.monotonic()
        watching.wait("lock.released")
        wait_for(lambda: time.monotonic() > deleted + 1.1, "the usual window to be over")
        with Agent(workspace / "a", *NO_SESSION):
            watching.wait("alert.firing", kind="collision", evidence="replaced")


@shows("rules.collision.shared_pane")
def test_two_workers_may_share_a_pane(home: Path, workspace: Path) -> None:
    """Two locks that name one pane are no alert."""
    options = given(home, {"rules.collision.shared_pane": False})
    with watching_tmux(workspace, home, *options, sessions=["ada"]) as (watching, _, [pane]):
        for worker in ("a", "b"):
            prime(workspace / worker, "--session", pane)
            watching.find(lambda line: line.get("verdict") == "held_by_session", "lock that its session holds")
        watching.quiet(workspace)
        assert watching.alerts() == []


@shows("rules.invalid.grace")
def test_how_long_a_file_may_stay_unreadable(home: Path, workspace: Path) -> None:
    """No alert, and no verdict either, comes before the grace is over."""
    with troubled(home, workspace, {"rules.invalid.grace": "2s"}) as watching:
        written = (workspace / "invalid" / ".runtime" / "agent.lock").stat().st_mtime
        assert moment(watching.wait("alert.firing", kind="invalid")) >= written + 2
        [acquired] = [
            line for line in watching.lines if line["event"] == "lock.acquired" and line["worker"] == "invalid"
        ]
        assert moment(acquired) >= written + 2


@shows("log.file", "log.quiet")
def test_the_log_goes_to_a_file(home: Path, workspace: Path) -> None:
    """It is json there whatever stdout is, and with --quiet nothing goes to stdout."""
    log = home / "log"
    options = given(home, {"log.file": str(log), "log.quiet": True})
    words = [sys.executable, "-m", "watcher", "watch", str(workspace), *options]
    with subprocess.Popen(words, stdout=subprocess.PIPE, env=environment(home)) as process:
        assert process.stdout is not None
        wait_for(lambda: log.exists() and log.read_bytes(), "the first line")
        process.terminate()
        assert process.stdout.read() == b""
    events = [parsed(raw)["event"] for raw in log.read_bytes().splitlines(keepends=True)]
    assert events == ["watcher.started", "watcher.stopped"]


@shows("log.format")
@pytest.mark.parametrize(
    ("form", "begins"),
    [("json", b'{"timestamp":"2'), ("logfmt", b"timestamp=2"), ("ecs", b'{"@timestamp":"2'), ("console", None)],
)
def test_how_lines_are_written(home: Path, workspace: Path, form: str, begins: bytes | None) -> None:
    """Each format is what it is called."""
    [first, _] = lines_of(["watch", workspace, "--no-tmux", *given(home, {"log.format": form})], home, 1)
    assert first.startswith(begins) if begins else b"  info      started    watcher  watching " in first


def test_who_has_the_last_word(home: Path, workspace: Path) -> None:
    """The command line wins over the environment, and that over the config file at its usual place."""
    config = home / "config" / "lockwarden" / "config.toml"
    config.parent.mkdir(parents=True)
    config.write_text('log.format = "ecs"\n')
    command = ["watch", str(workspace), "--no-tmux"]
    assert lines_of(command, home, 1)[0].startswith(b'{"@timestamp"')
    env = {"LOCKWARDEN_LOG_FORMAT": "logfmt"}
    assert lines_of(command, home, 1, env=env)[0].startswith(b"timestamp=")
    assert lines_of([*command, "--format", "json"], home, 1, env=env)[0].startswith(b'{"timestamp"')


@shows("log.level", "log.alerts_only")
@pytest.mark.parametrize("settings", [{"log.level": "warning"}, {"log.alerts_only": True}])
def test_lines_about_locks_are_left_out(home: Path, workspace: Path, settings: Mapping[str, object]) -> None:
    """Alerts and what the watcher says of itself are written, and nothing of locks."""
    with troubled(home, workspace, settings) as watching:
        kinds = {watching.wait("alert.firing")["kind"] for _ in RULES}
        assert kinds == set(RULES)
    assert {line["event"].partition(".")[0] for line in watching.lines} == {"watcher", "alert"}


@shows("observe.skip_dirs", "observe.default_skips", "observe.max_depth")
@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ({}, {"a", "attic/a", "a/b/c"}),
        ({"observe.skip_dirs": ["attic", "b"]}, {"a"}),
        ({"observe.default_skips": False}, {"a", "attic/a", "a/b/c", "node_modules/a"}),
        ({"observe.max_depth": 2}, {"a", "attic/a"}),
    ],
)
def test_where_is_looked(home: Path, workspace: Path, settings: Mapping[str, object], found: set[str]) -> None:
    """The watcher and one look find the same locks, and never one in a directory that they do not enter."""
    for worker in ("a", "attic/a", "a/b/c", "node_modules/a"):
        prime(workspace / worker, *NO_SESSION)
    options = given(home, {"tmux.enabled": False, **settings})
    with Watching(workspace, home, *options) as watching:
        watching.quiet(workspace)
        assert {line["worker"] for line in watching.lines if line["event"] == "lock.acquired"} - {"zz-probe"} == found
    (workspace / "zz-probe" / ".runtime" / "agent.lock").unlink()
    words = [sys.executable, "-m", "watcher", "scan", str(workspace), "--json", *options]
    scan = subprocess.run(words, stdout=subprocess.PIPE, env=environment(home), timeout=DEADLINE, check=False)
    assert {lock["worker"] for lock in json.loads(scan.stdout)["locks"]} == found


@shows("observe.backend", "observe.poll")
def test_how_changes_are_noticed(home: Path, workspace: Path) -> None:
    """Who polls often sees what who polls once an hour does not."""
    often, seldom = (
        given(home, {"observe.backend": "polling", "observe.poll": poll, "observe.rescan": "1h"})
        for poll in ("100ms", "1h")
    )
    with (
        Watching(workspace, home, "--no-tmux", "--no-state", *often) as seeing,
        Watching(workspace, home, "--no-tmux", "--no-state", *seldom) as blind,
    ):
        assert seeing.lines[0]["backend"] == blind.lines[0]["backend"] == "polling"
        began = time.monotonic()
        while time.monotonic() < began + 1.5:  # longer than the usual second
            seeing.quiet(workspace)
        assert told(blind.lines[1:]) == []


@shows("observe.rescan", "heartbeat.interval")
def test_how_often_everything_is_looked_at(home: Path, workspace: Path) -> None:
    """Heartbeats come as often as they are to, and count more and more looks."""
    options = given(home, {"observe.rescan": "200ms", "heartbeat.interval": "0.1"})
    with Watching(workspace, home, "--no-tmux", *options) as watching:
        watching.find(lambda line: line.get("rescans", 0) >= 3, "heartbeat after three looks")


@shows("tmux.enabled")
def test_tmux_is_off(home: Path, workspace: Path) -> None:
    """Every session is unknown, also one that is on no server."""
    prime(workspace / "a", "--session", "gone")
    with Watching(workspace, home, *given(home, {"tmux.enabled": False, **NOWHERE})) as watching:
        line = watching.wait("lock.acquired")
        assert (line["session_state"], line["verdict"]) == ("unknown", "unverifiable")


@shows("tmux.sockets", "tmux.socket_names")
@pytest.mark.parametrize("key", ["tmux.sockets", "tmux.socket_names"])
def test_which_servers_are_asked(home: Path, workspace: Path, key: str) -> None:
    """A session of a server that is named is there, one of another server is not."""
    sockets = home / f"tmux-{os.getuid()}"
    sockets.mkdir(mode=0o700)
    with Tmux(sockets / "one") as one, Tmux(sockets / "two") as two:
        one.session("ada")
        two.session("bob")
        prime(workspace / "ada", "--session", "ada")
        prime(workspace / "bob", "--session", "bob")
        options = given(home, {key: [str(one.path) if key == "tmux.sockets" else "one"]})
        with Watching(workspace, home, *options, env={"TMUX_TMPDIR": str(home)}) as watching:
            watching.wait("alert.firing", kind="stale", worker="bob")
            states = {line["worker"]: line["session_state"] for line in watching.lines if "session_state" in line}
            assert states == {"ada": "alive", "bob": "dead"}


@shows("tmux.descriptive")
def test_which_session_ids_only_describe(home: Path, workspace: Path) -> None:
    """An id that is taken at its word and is on no server is that of a session that ended."""
    prime(workspace / "a", "--session", "rig/ada")
    prime(workspace / "b", "--session", "bob-describes")
    options = given(home, {"tmux.descriptive": ["*-describes"], **NOWHERE})
    with Watching(workspace, home, *options) as watching:
        watching.wait("alert.firing", kind="stale", worker="a", session_state="dead")
        watching.quiet(workspace)
        verdicts = {line["worker"]: line["verdict"] for line in watching.lines if line["event"] == "lock.acquired"}
        assert (verdicts["a"], verdicts["b"]) == ("stale", "unverifiable")


@shows("tmux.session_alias")
def test_a_pane_may_be_taken_for_a_session(home: Path, workspace: Path) -> None:
    """The pane `%1` is gone, the session `$1` is not: to who takes the one for the other, the lock is held."""
    with Tmux(home / "s") as tmux:
        tmux.session("first")
        gone = tmux("split-window", "-d", "-t", "first", "-P", "-F", "#{pane_id}", "exec sh")
        tmux.session("second")
        tmux("kill-pane", "-t", gone)
        prime(workspace / "a", "--session", gone)
        for alias, verdict in ((False, "stale"), (True, "held_by_session")):
            settings = {"tmux.sockets": [str(tmux.path)], "tmux.session_alias": alias}
            with Watching(workspace, home, *given(home, settings)) as watching:
                assert watching.wait("lock.acquired")["verdict"] == verdict


@shows("host_aliases")
def test_another_name_of_this_host(home: Path, workspace: Path) -> None:
    """A lock that was signed with it is judged as one of ours."""
    prime(workspace / "a", "--host", "old-name", *NO_SESSION)
    with Watching(workspace, home, "--no-tmux", *given(home, {"host_aliases": ["old-name"]})) as watching:
        watching.wait("alert.firing", kind=Kind.STALE, lock_host="old-name")


@shows("state.dir", "state.enabled")
def test_where_the_state_is(home: Path, workspace: Path) -> None:
    """One watcher only watches a workspace, as far as they share their state."""
    here = given(home, {"state.dir": str(home / "here")})
    with Watching(workspace, home, "--no-tmux", *here):
        words = [sys.executable, "-m", "watcher", "watch", str(workspace), "--no-tmux", *here]
        second = subprocess.run(words, capture_output=True, env=environment(home), timeout=DEADLINE, check=False)
        assert (second.returncode, second.stdout, second.stderr.count(b"\n")) == (4, b"", 1)
        assert list((home / "here").iterdir())
        for settings in ({"state.dir": str(home / "there")}, {"state.enabled": False}):
            with Watching(workspace, home, "--no-tmux", *given(home, settings)) as watching:
                assert watching.stop() == 0
