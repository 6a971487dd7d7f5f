from dataclasses import dataclass

import psutil
import pytest

from watcher.sources.processes.starttime import StartClock, boot_epoch, uptime


@dataclass
class Clocks:
    """Both clocks of a machine that booted at `epoch`."""

    epoch: float = 1_000_000.0
    up: float = 500.0


@pytest.fixture
def clocks() -> Clocks:
    """A machine 500 s after boot."""
    return Clocks()


@pytest.fixture
def starts(clocks: Clocks) -> StartClock:
    """Start times as that machine would give them."""
    return StartClock(lambda: clocks.epoch, lambda: clocks.up)


def test_a_start_is_told_by_the_wall_clock(starts: StartClock) -> None:
    """Seconds since boot become epoch seconds; what is not known stays so."""
    assert starts.started_at(100.25) == 1_000_100.25
    assert starts.started_at(None) is None


@pytest.mark.parametrize("step", [-3600.0, 3600.0])
def test_after_a_step_older_processes_have_no_start(clocks: Clocks, starts: StartClock, step: float) -> None:
    """What started before the clock was stepped cannot be compared with a lock of after; a newer one can."""
    clocks.epoch += step
    assert starts.started_at(100.0) is None
    clocks.up = 700.0
    assert starts.started_at(100.0) is None
    assert starts.started_at(499.0) is None
    assert starts.started_at(600.0) == 1_000_600.0 + step


def test_a_clock_set_back_and_forth_is_not_trusted_again(clocks: Clocks, starts: StartClock) -> None:
    """A lock may have been written in between."""
    clocks.epoch -= 3600
    assert starts.started_at(100.0) is None
    clocks.epoch += 3600
    assert starts.started_at(100.0) is None


def test_a_clock_that_is_slewed_is_not_stepped(clocks: Clocks, starts: StartClock) -> None:
    """Within a second the answer stays the same, to the last digit."""
    before = starts.started_at(100.0)
    clocks.epoch += 0.9
    assert starts.started_at(100.0) == before


def test_boot_was_when_the_system_says() -> None:
    """The epoch of boot agrees with the whole seconds that others give."""
    assert abs(boot_epoch() - psutil.boot_time()) < 2
    assert uptime() > 0
