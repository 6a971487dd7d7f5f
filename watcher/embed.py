"""The watcher as an object, for programs that embed it.

async with Watcher("/srv/town") as watcher:
async for transition in watcher:
print(transition.step, transition.alert.finding.reason)
"""

import asyncio
import os
from collections import deque
from types import TracebackType
from typing import Self

from rules.alerts import Alert, Transition
from rules.model import LockView
from watcher.daemon import Daemon
from watcher.settings import Settings
from watcher.sinks.pipeline import Journal
from watcher.survey import workspace_at

_MOST_WAITING = 10_000


class Watcher:
    """Watches a workspace in the running event loop, and gives each step of each alert as it happens.

    `journal` takes the log lines too, where one is given. Transitions that nobody fetches are kept up to
    10,000; beyond that the oldest are dropped, and counted in `dropped`.

    Raises `watcher.errors.JobError` on entering where `root` is no directory that can be listed.
    """

    def __init__(
        self, root: str | os.PathLike[str], settings: Settings | None = None, *, journal: Journal | None = None
    ) -> None:
        self._root = os.fspath(root)
        self._settings = settings or Settings()
        self._journal = journal or Journal(())
        self._waiting: deque[Transition] = deque()
        self._came = asyncio.Event()
        self.dropped = 0

    async def __aenter__(self) -> Self:
        root = workspace_at(self._root)
        self._daemon = Daemon(root, self._settings, self._journal, on_transition=self._take)
        self._running = asyncio.get_running_loop().create_task(self._daemon.run())
        self._running.add_done_callback(lambda _: self._came.set())
        started = asyncio.get_running_loop().create_task(self._daemon.started())
        await asyncio.wait((self._running, started), return_when=asyncio.FIRST_COMPLETED)
        started.cancel()
        if self._running.done():
            self._running.result()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._daemon.stop("the program that embeds it")
        await self._running

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Transition:
        while not self._waiting:
            if self._running.done():
                raise StopAsyncIteration
            self._came.clear()
            await self._came.wait()
        return self._waiting.popleft()

    def locks(self) -> list[LockView]:
        """List every lock that is there now, with what is known of it."""
        return self._daemon.locks()

    def firing(self) -> list[Alert]:
        """List the alerts that fire now, oldest first."""
        return self._daemon.firing()

    def _take(self, transition: Transition) -> None:
        if len(self._waiting) >= _MOST_WAITING:
            self._waiting.popleft()
            self.dropped += 1
        self._waiting.append(transition)
        self._came.set()
