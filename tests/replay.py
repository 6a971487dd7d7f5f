"""One log of any number of runs, read line by line as an aggregator reads it, and held to what it promises.

After a kill the log may say a thing twice (the package `watcher.state` tells when, and why): an episode that fired is
written as firing again by each later run, as `restored`; a resolved line may come a second time, the same in its words.
"""

import contextlib
import signal
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.harness import Line, Watching, parsed


@dataclass
class Episode:
    """One run of one trouble, as far as the log tells: in which runs it was said to fire, and when it ended."""

    first: Line
    fired_in: set[str] = field(default_factory=set)
    resolved_in: set[str] = field(default_factory=set)
    ends_at: str | None = None
    is_open: bool = True


class Replay:
    """What one log says, by all its lines so far. Raises AssertionError at the first line that cannot be."""

    def __init__(self) -> None:
        self.run = ""
        self.lines = 0
        self.locks: dict[str, str] = {}
        self.episodes: dict[str, Episode] = {}
        self._firing: dict[str, Episode] = {}
        self._ids: set[str] = set()
        self._runs: set[str] = set()
        self._seq = 0
        self._ended = True

    @property
    def firing(self) -> Mapping[str, Line]:
        """What fires: by episode, the line that said so first."""
        return {episode.first["episode"]: episode.first for episode in self._firing.values()}

    @property
    def runs(self) -> int:
        """How many runs have written."""
        return len(self._runs)

    @property
    def doubled(self) -> int:
        """How many resolved lines came a second time."""
        return sum(len(episode.resolved_in) - 1 for episode in self.episodes.values() if episode.resolved_in)

    @property
    def reborn(self) -> int:
        """How many episodes were first written by the run after the one that found them."""
        return sum(episode.first.get("restored", False) for episode in self.episodes.values())

    def read(self, raw: Iterable[bytes]) -> None:
        """Take in lines as they were written."""
        self.feed(map(parsed, raw))

    def feed(self, lines: Iterable[Line]) -> None:
        """Take in lines."""
        for line in lines:
            self._count(line)
            house, _, event = line["event"].partition(".")
            if house == "lock":
                self._hold(line, event)
            elif house == "alert":
                self._alert(line, event)

    def hold_together(self) -> None:
        """What has been said to end, and was said to fire again, must have been said to end again."""
        for episode in self.episodes.values():
            assert not (episode.is_open and episode.ends_at), episode

    def _count(self, line: Line) -> None:
        assert line["id"] not in self._ids, ("an id came before", line)
        self._ids.add(line["id"])
        self.lines += 1
        if line["run"] != self.run:
            assert line["run"] not in self._runs, ("two runs are mixed", line)
            assert line["event"] == "watcher.started", ("a run begins with something else", line)
            self.hold_together()
            self.run, self._seq, self.locks, self._ended = line["run"], 0, {}, False
            self._runs.add(line["run"])
        assert not self._ended, ("a run went on after its end", line)
        assert line["seq"] == self._seq + 1, (f"a line is missing after {self._seq}", line)
        self._seq += 1
        self._ended = line["event"] == "watcher.stopped"

    def _hold(self, line: Line, event: str) -> None:
        """Hold the lines on a lock to each other: each verdict is the previous one of the next."""
        worker = line["worker"]
        assert (event == "acquired") == (worker not in self.locks), ("not acquired, or twice", line)
        assert line.get("previous", self.locks.get(worker)) == self.locks.get(worker), ("another was previous", line)
        self.locks[worker] = line["verdict"]
        if event == "released":
            del self.locks[worker]

    def _alert(self, line: Line, event: str) -> None:
        episode = self.episodes.get(line["episode"])
        if event == "firing":
            episode = self._fire(line, episode)
        assert episode is not None, ("it never fired", line)
        first = episode.first
        assert (line["fingerprint"], line["starts_at"]) == (first["fingerprint"], first["starts_at"]), (line, episode)
        if event == "resolved":
            self._resolve(line, episode)
        else:
            assert episode.is_open, ("it is over", line, episode)

    def _fire(self, line: Line, episode: Episode | None) -> Episode:
        if episode is None:
            assert line["fingerprint"] not in self._firing, ("the episode before goes on", line)
            episode = self.episodes[line["episode"]] = Episode(line)
        else:
            assert line.get("restored"), ("it fires as new for the second time", line, episode)
            assert self.run not in episode.fired_in, ("a run says so twice", line, episode)
            episode.is_open = True
        episode.fired_in.add(self.run)
        self._firing[line["fingerprint"]] = episode
        return episode

    def _resolve(self, line: Line, episode: Episode) -> None:
        assert self.run not in episode.resolved_in, ("a run says so twice", line, episode)
        assert line["ends_at"] == (episode.ends_at or line["ends_at"]), ("it ended otherwise", line, episode)
        episode.resolved_in.add(self.run)
        episode.ends_at, episode.is_open = line["ends_at"], False
        self._firing.pop(line["fingerprint"], None)


class Runs:
    """Watchers of the workspace `root`, one after the other, and the replay of all that they write to stdout."""

    def __init__(self, root: Path, home: Path, *options: str) -> None:
        self.replay = Replay()
        self._root = root
        self._home = home
        self._options = options

    @contextlib.contextmanager
    def start(self, *options: str) -> Iterator[Watching]:
        """Run a watcher for as long as this lasts; it is stopped in order, unless it has ended before."""
        watching = Watching(self._root, self._home, *self._options, *options)
        try:
            yield watching
            if watching.process.poll() is None:
                assert watching.stop() == 0
            self.replay.feed(watching.lines)
        finally:
            if watching.process.poll() is None:
                watching.stop(signal.SIGKILL)
