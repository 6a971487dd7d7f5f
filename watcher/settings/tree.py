"""Every setting there is, declared once: its type, default, meaning and option.

The TOML key is the path to the field (`rules.orphan.hold`), the environment variable the same in capitals
(`LOCKWARDEN_RULES_ORPHAN_HOLD`); help texts, the example file's test and the JSON Schema follow from here.
"""

from enum import StrEnum
from typing import Annotated

from msgspec import Meta

from watcher.records import Level
from watcher.settings.forms import Count, Duration, FilePath, Interval, Listen, Name, Url, Word, parse_listen
from watcher.settings.rules import Rules
from watcher.settings.section import Adds, Option, Section

DEFAULT_SKIP_NAMES = frozenset(
    {
        ".git",
        "node_modules",
        "vendor",
        "target",
        "build",
        "dist",
        ".gradle",
        ".m2",
        "bazel-out",
        "bazel-bin",
        ".dolt-data",
        ".dolt-backup",
    }
)

_LOOKING = ("watch", "scan", "clean")
_STATEFUL = ("watch", "status")


class Format(StrEnum):
    """How a log line is written; `AUTO` is console on a terminal, and json elsewhere."""

    AUTO = "auto"
    JSON = "json"
    CONSOLE = "console"
    LOGFMT = "logfmt"
    ECS = "ecs"


class Backend(StrEnum):
    """How changes of the workspace are noticed; `AUTO` takes the best that works."""

    AUTO = "auto"
    INOTIFY = "inotify"
    NATIVE = "native"
    POLLING = "polling"


class Log(Section, frozen=True, kw_only=True):
    """What is written, where and how."""

    file: Annotated[FilePath, Meta(description="Write the log to this file as well."), Option("--log-file", "FILE")] = (
        ""
    )
    quiet: Annotated[bool, Meta(description="Write nothing to stdout."), Option("--quiet")] = False
    format: Annotated[
        Format,
        Meta(description="How lines are written; auto: console on a terminal, json elsewhere."),
        Option("--format", "|".join(Format)),
    ] = Format.AUTO
    level: Annotated[
        Level,
        Meta(description="Leave out lock.* lines below this level; alerts and watcher.* are always written."),
        Option("--level", "LEVEL"),
    ] = Level.INFO
    alerts_only: Annotated[bool, Meta(description="Leave out every lock.* line."), Option("--alerts-only")] = False


class Observe(Section, frozen=True, kw_only=True):
    """Which directories are looked at, and how changes in them are noticed."""

    skip_dirs: Annotated[
        tuple[Name, ...],
        Meta(description="Directory names that are never entered, at any depth, on top of the default ones."),
        Option("--skip-dir", "NAME", "Never enter directories of this name (repeatable, adds).", commands=_LOOKING),
        Adds(),
    ] = ()
    default_skips: Annotated[
        bool,
        Meta(description=f"Skip the usual names too: {', '.join(sorted(DEFAULT_SKIP_NAMES))}."),
        Option(
            "--no-default-skips", help="Do not skip the default names (.git, node_modules, ...).", commands=_LOOKING
        ),
    ] = True
    max_depth: Annotated[
        Count,
        Meta(description="How many levels below the workspace a worker may lie; 0: any number."),
        Option("--max-depth", "N", commands=_LOOKING),
    ] = 0
    backend: Annotated[
        Backend, Meta(description="How changes are noticed."), Option("--backend", "|".join(Backend))
    ] = Backend.AUTO
    rescan: Annotated[
        Interval, Meta(description="How often everything is looked at again, whatever the events said.")
    ] = 30.0
    poll: Annotated[Interval, Meta(description="How often to look where changes can only be polled for.")] = 1.0

    @property
    def skip_names(self) -> frozenset[str]:
        """The names of directories that are never entered."""
        return frozenset(self.skip_dirs) | (DEFAULT_SKIP_NAMES if self.default_skips else frozenset())


class Tmux(Section, frozen=True, kw_only=True):
    """Which tmux servers are asked, and how a session id is read."""

    enabled: Annotated[
        bool,
        Meta(description="Ask tmux; without it every session is unknown."),
        Option("--no-tmux", help="Do not ask tmux: every session is unknown.", commands=_LOOKING),
    ] = True
    sockets: Annotated[
        tuple[Annotated[FilePath, Meta(min_length=1)], ...],
        Meta(description="Ask only the servers on these sockets, and those of socket_names."),
        Option("--tmux-socket", "PATH", help="Ask only the server on this socket (repeatable).", commands=_LOOKING),
    ] = ()
    socket_names: Annotated[
        tuple[Name, ...],
        Meta(description="Ask only the servers of these names (tmux -L), and those of sockets."),
        Option("--tmux-socket-name", "NAME", help="Ask only the server of this name (repeatable).", commands=_LOOKING),
    ] = ()
    descriptive: Annotated[
        tuple[Word, ...],
        Meta(description="Globs on session ids that only describe: one that no server knows is unknown, not dead."),
    ] = ("*/*",)
    session_alias: Annotated[
        bool, Meta(description="Take %N for session $N too, as the original did; calls dead workers alive.")
    ] = False


class State(Section, frozen=True, kw_only=True):
    """What outlives a restart."""

    dir: Annotated[
        FilePath,
        Meta(description='Where the state lies; "": $STATE_DIRECTORY, else $XDG_STATE_HOME/lockwarden.'),
        Option("--state-dir", "DIR", commands=_STATEFUL),
    ] = ""
    enabled: Annotated[
        bool,
        Meta(description="Keep state, and let one watcher only watch a workspace."),
        Option("--no-state", help="Keep no state, and do not ask whether another watcher is there."),
    ] = True


class Heartbeat(Section, frozen=True, kw_only=True):
    """The sign of life in the log."""

    interval: Annotated[
        Duration, Meta(description="How often a heartbeat line is written; 0: never."), Option("--heartbeat", "SECONDS")
    ] = 60.0


class Metrics(Section, frozen=True, kw_only=True):
    """Numbers for Prometheus."""

    listen: Annotated[
        Listen,
        Meta(description="Serve metrics over HTTP here, on 127.0.0.1 where no host is named."),
        Option("--metrics", "[HOST:]PORT"),
    ] = ""
    file: Annotated[
        FilePath,
        Meta(description="Write metrics to this file, for the node exporter's textfile collector."),
        Option("--metrics-file", "PATH"),
    ] = ""

    @property
    def address(self) -> tuple[str, int] | None:
        """Host and port to listen on, None for nowhere."""
        return parse_listen(self.listen) if self.listen else None


class Otlp(Section, frozen=True, kw_only=True):
    """OpenTelemetry."""

    endpoint: Annotated[
        Url, Meta(description="Send log records to this OTLP/HTTP endpoint as well."), Option("--otlp", "ENDPOINT")
    ] = ""


class Alertmanager(Section, frozen=True, kw_only=True):
    """Prometheus' Alertmanager."""

    url: Annotated[
        Url, Meta(description="Send alerts to this Alertmanager as well."), Option("--alertmanager", "URL")
    ] = ""


class Settings(Section, frozen=True, kw_only=True):
    """Lockwarden's configuration."""

    host_aliases: Annotated[
        tuple[Word, ...], Meta(description="Other names of this host, as locks may record them.")
    ] = ()
    log: Log = Log()
    observe: Observe = Observe()
    tmux: Tmux = Tmux()
    state: State = State()
    heartbeat: Heartbeat = Heartbeat()
    metrics: Metrics = Metrics()
    otlp: Otlp = Otlp()
    alertmanager: Alertmanager = Alertmanager()
    rules: Rules = Rules()
