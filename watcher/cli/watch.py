"""`lockwarden watch`: the daemon."""

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import click

from watcher import parts
from watcher.cli.options import settings_options, workspace_argument
from watcher.cli.progress import Progress
from watcher.daemon import NOBODY_READS, Daemon
from watcher.errors import JobError, UsageError, one_line
from watcher.records import Component
from watcher.settings import Format, Loaded, Settings
from watcher.settings.load import value_of
from watcher.sinks.console import wants_colour
from watcher.sinks.file import FileSink
from watcher.sinks.line import Origin
from watcher.sinks.pipeline import Journal
from watcher.sinks.render import Renderer
from watcher.sinks.sink import Sink
from watcher.sinks.stream import StreamSink
from watcher.state import LogTail, NoStore, Running, StateStore, state_directory
from watcher.survey import workspace_at
from watcher.version import __version__

_NOT_BUILT = ("metrics.listen", "metrics.file", "otlp.endpoint", "alertmanager.url")
"""Settings that have a name already, and no effect: refused, lest somebody relies on them."""


@click.command()
@workspace_argument
@settings_options("watch")
def command(workspace: str, loaded: Loaded) -> None:
    """Watch WORKSPACE, and log what happens to its locks until a signal ends it.

    TERM and INT stop it, HUP has the settings read again, USR1 has the log files opened again.

    Exit codes: 0 stopped by a signal, 2 wrong options or settings, 4 WORKSPACE cannot be watched.

    Example: lockwarden watch ~/town --log-file ~/lockwarden.json
    """
    for key in _NOT_BUILT:
        if value_of(loaded.settings, key):
            raise UsageError(f"{key}: this version cannot do that yet: leave it out")
    root = workspace_at(workspace)
    asyncio.run(_watch(root, loaded))


async def _watch(root: str, loaded: Loaded) -> None:
    loop = asyncio.get_running_loop()
    journal = Journal(_sinks(root, loaded.settings), selection=parts.selection(loaded.settings))

    def on_trouble(reason: str, hint: str) -> None:
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(daemon.on_trouble, Component.STATE, "disk", reason, hint)

    store = _store(root, loaded.settings, journal, on_trouble)
    daemon = Daemon(root, loaded.settings, journal, store=store)
    loop.set_exception_handler(daemon.on_defect)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, daemon.stop, signal.Signals(number).name)
    loop.add_signal_handler(signal.SIGUSR1, daemon.reopen_logs)
    hangup = asyncio.Event()
    loop.add_signal_handler(signal.SIGHUP, hangup.set)
    reloading = loop.create_task(_reload_on(hangup, daemon, loaded))
    try:
        with Progress(daemon):
            reason = await daemon.run()
    finally:
        reloading.cancel()
        await asyncio.to_thread(journal.close)
        await asyncio.to_thread(store.close)
    if reason == NOBODY_READS:
        raise JobError(f"log: {reason}; send it to a file too with --log-file")


async def _reload_on(hangup: asyncio.Event, daemon: Daemon, loaded: Loaded) -> None:
    """Read the settings at each hang-up, and once more where another came meanwhile."""
    while await hangup.wait():
        hangup.clear()
        try:
            fresh = await asyncio.to_thread(loaded.reload)
            daemon.refuse("")
            await daemon.reconfigure(fresh.settings)
        except UsageError as error:
            daemon.refuse(str(error))
        except Exception as error:  # noqa: BLE001 - a defect is told as any other, and the next hang-up is heard
            asyncio.get_running_loop().call_exception_handler({"exception": error})


def _store(
    root: str, settings: Settings, journal: Journal, on_trouble: Callable[[str, str], None]
) -> StateStore | NoStore:
    """Give where the state is kept, with the workspace claimed for us."""
    if not settings.state.enabled:
        return NoStore()
    directory = state_directory(settings.state.dir, os.environ)
    # What a log has already can be read back only where it is all that there is.
    alone = settings.log.quiet and settings.log.file
    is_logged = LogTail(settings.log.file) if alone else lambda _step, _episode: False
    store = StateStore(directory, root, drained=journal.flush, is_logged=is_logged, on_trouble=on_trouble)
    store.claim_watch(
        Running(
            pid=os.getpid(), since=time.time(), version=__version__, backend=settings.observe.backend, workspace=root
        )
    )
    return store


def _sinks(root: str, settings: Settings) -> list[Sink]:
    log = settings.log
    origin = Origin(socket.gethostname(), root)
    sinks: list[Sink] = []
    if not log.quiet:
        if sys.stdout is None:
            raise JobError("stdout: closed; use --quiet")
        terminal = sys.stdout.isatty()
        form = log.format if log.format is not Format.AUTO else Format.CONSOLE if terminal else Format.JSON
        try:
            colour = wants_colour(sys.stdout.fileno(), os.environ)
            sinks.append(StreamSink(sys.stdout.fileno(), Renderer(form, origin, colour=colour)))
        except OSError as error:
            raise JobError(f"stdout: {os.strerror(error.errno or 0).lower()}; use --quiet") from None
    if log.file:
        form = log.format if log.format is not Format.AUTO else Format.JSON
        try:
            file = FileSink(Path(log.file), Renderer(form, origin))
            file.open()
            sinks.append(file)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise JobError(f"log file: {one_line(log.file)}: {reason}; name another with --log-file") from None
    return sinks
