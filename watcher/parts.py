"""From settings to the parts that they configure; shared by the daemon and by one look."""

import os
import socket
from collections.abc import Sequence

from rules.alerts import AlertBook, Scope
from rules.evaluate import RULES, Rule
from rules.identity import Host
from watcher.detector import Detector
from watcher.records import Level
from watcher.registry import Registry
from watcher.registry.claims import Judge
from watcher.registry.sessions import SessionDirectory
from watcher.settings import Settings
from watcher.sinks.pipeline import Selection
from watcher.sources.tmux.server import TmuxOptions
from watcher.sources.workspace.crawl import Pruning


def this_host(settings: Settings) -> Host:
    """Name this host, with the aliases that the operator gave it."""
    return Host(socket.gethostname(), settings.host_aliases)


def judge(settings: Settings) -> Judge:
    """Make what judges single claims."""
    return Judge(this_host(settings), settings.tmux.descriptive)


def sessions(settings: Settings) -> SessionDirectory:
    """Make what knows the tmux servers; it has to be told of them yet."""
    tmux = settings.tmux
    return SessionDirectory(
        os.getuid(),
        enabled=tmux.enabled,
        named=(*map(os.path.abspath, tmux.sockets), *tmux.socket_names),
        alias=tmux.session_alias,
    )


def detector(root: str, settings: Settings, rules_in_force: Sequence[Rule] = RULES) -> Detector:
    """Make a detector for the workspace at the absolute path `root`."""
    rules = settings.rules
    registry = Registry(
        root, judge(settings), sessions(settings), grace=rules.invalid.grace, window=rules.collision.window
    )
    return Detector(registry, AlertBook(Scope(this_host(settings).name, root)), rules.policy(), rules_in_force)


def selection(settings: Settings) -> Selection:
    """Say which of the lines about locks are written."""
    return Selection(Level(settings.log.level), settings.log.alerts_only)


def pruning(settings: Settings) -> Pruning:
    """Say which directories are never entered."""
    return Pruning(settings.observe.skip_names, settings.observe.max_depth or None)


def tmux_options(settings: Settings) -> TmuxOptions:
    """Say which tmux servers are asked, and how."""
    tmux = settings.tmux
    return TmuxOptions(enabled=tmux.enabled, sockets=tmux.sockets, socket_names=tmux.socket_names)
