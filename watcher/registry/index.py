"""Which workers a fact concerns, so that an event costs what it touches and not what there is. Pure."""

from bisect import bisect_left, insort
from collections.abc import Hashable, Iterable, Iterator
from collections.abc import Set as AbstractSet
from itertools import islice
from typing import Generic, TypeVar

from rules.model import PaneRef

K = TypeVar("K", bound=Hashable)

_NOBODY: frozenset[str] = frozenset()

NEIGHBOURS = 16
"""How many sharers of one pane are looked at for one that is not nested in the worker: thousands of locks may
name one pane, and each event must stay cheap."""


class Index(Generic[K]):
    """The workers that name each key, and the keys that each worker names."""

    def __init__(self) -> None:
        self._workers: dict[K, set[str]] = {}
        self._keys: dict[str, frozenset[K]] = {}

    def __contains__(self, key: K) -> bool:
        return key in self._workers

    def __iter__(self) -> Iterator[K]:
        return iter(self._workers)

    def workers(self, key: K) -> AbstractSet[str]:
        """List the workers that name a key."""
        return self._workers.get(key, _NOBODY)

    def everyone(self) -> AbstractSet[str]:
        """List the workers that name any key."""
        return self._keys.keys()

    def update(self, worker: str, keys: Iterable[K]) -> Iterator[K]:
        """Set what a worker names; yield the keys that are named for the first time, or no more."""
        before, after = self._keys.get(worker, frozenset()), frozenset(keys)
        if after:
            self._keys[worker] = after
        else:
            self._keys.pop(worker, None)
        for key in after - before:
            named = self._workers.setdefault(key, set())
            named.add(worker)
            if len(named) == 1:
                yield key
        for key in before - after:
            named = self._workers[key]
            named.discard(worker)
            if not named:
                del self._workers[key]
                yield key


class Sharers:
    """The workers whose current locks name the same pane, oldest first."""

    def __init__(self) -> None:
        self._queues: dict[PaneRef, list[tuple[float, str]]] = {}
        self._places: dict[str, tuple[PaneRef, tuple[float, str]]] = {}

    def place(self, worker: str, pane: PaneRef | None, age: float) -> set[str]:
        """Set the pane that a worker's lock names and when it was taken; return the workers that this concerns."""
        concerned = self.followers(worker)
        place = (pane, (age, worker)) if pane is not None else None
        if self._places.get(worker) != place:
            self._remove(worker)
            if place is not None:
                self._places[worker] = place
                insort(self._queues.setdefault(place[0], []), place[1])
            concerned |= self.followers(worker)
        return concerned

    def older(self, worker: str) -> str | None:
        """Name the newest of the older sharers that is neither inside the worker nor around it."""
        if worker not in self._places:
            return None
        pane, place = self._places[worker]
        queue = self._queues[pane]
        position = bisect_left(queue, place)
        before = (queue[i][1] for i in range(position - 1, max(-1, position - 1 - NEIGHBOURS), -1))
        return next((other for other in before if not _nested(worker, other)), None)

    def followers(self, worker: str) -> set[str]:
        """List the newer sharers for which the worker may be the older one."""
        if worker not in self._places:
            return set()
        pane, place = self._places[worker]
        queue = self._queues[pane]
        position = bisect_left(queue, place)
        return {other for _, other in islice(queue, position + 1, position + 1 + NEIGHBOURS)}

    def _remove(self, worker: str) -> None:
        if worker in self._places:
            pane, place = self._places.pop(worker)
            queue = self._queues[pane]
            del queue[bisect_left(queue, place)]
            if not queue:
                del self._queues[pane]


def _nested(one: str, two: str) -> bool:
    """Say whether one worker directory is inside the other; `.` is around all."""
    return "." in {one, two} or one.startswith(two + "/") or two.startswith(one + "/")
