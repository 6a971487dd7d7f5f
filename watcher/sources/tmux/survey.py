"""Looking which tmux servers there are, whenever somebody wants to know, and without keeping the loop."""

import asyncio
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

from watcher.sources.tmux.server import TmuxOptions
from watcher.sources.tmux.servers import Census, ServerSearch

_PAUSE = 0.005

Surveyed = Callable[[dict[int, Census], float, bool], None]


class Survey:
    """Takes a census in a thread, one at a time; what is wanted meanwhile is one more, a moment later.

    `prepare` is called in the loop before each, and returns the users to look at; `surveyed` after it, with the
    census of each user, the monotonic time just before it was taken, and whether a fresh one was asked for.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        options: TmuxOptions,
        prepare: Callable[[], Iterable[int]],
        surveyed: Surveyed,
    ) -> None:
        """Take none yet."""
        self._loop = loop
        self._prepare = prepare
        self._surveyed = surveyed
        self._search = ServerSearch(options)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="lockwarden-tmux")
        self._wanted = False
        self._fresh = False
        self._closed = False
        self.running: asyncio.Task[None] | None = None

    def want(self, *, fresh: bool = False) -> None:
        """Have a census taken from now on; `fresh` is passed on."""
        if self._closed:
            return
        self._fresh |= fresh
        self._wanted = True
        if self.running is None:
            self.running = self._loop.create_task(self._run())

    async def close(self) -> None:
        """Take no more; nothing is called any more."""
        self._closed = True
        if self.running is not None:
            self.running.cancel()
            await asyncio.wait([self.running])
        self._thread.shutdown(wait=False)

    async def _run(self) -> None:
        try:
            while True:
                self._wanted = False
                fresh, self._fresh = self._fresh, False
                uids = frozenset(self._prepare())
                asked = time.monotonic()
                censuses = await self._loop.run_in_executor(self._thread, self._search.census, uids)
                self._surveyed(censuses, asked, fresh)
                if not self._wanted:
                    return
                await asyncio.sleep(_PAUSE)
        finally:
            self.running = None
