from dataclasses import replace

import pytest

from rules.model import Liveness, SessionRef, SessionState
from tests.rules.builders import pane_ref
from tests.watcher.answers import BEFORE, ME, SHE, answer, directory, listing, naming, silence, state, unlisted
from watcher.events import SessionsSeen
from watcher.registry.sessions import SessionDirectory

ALIVE, DEAD, UNKNOWN = SessionState.ALIVE, SessionState.DEAD, SessionState.UNKNOWN


def test_one_number_on_two_servers_is_unknown() -> None:
    """Where two servers have the id, nobody can say which is meant."""
    known = directory(listing("/s", "/t"), answer("/s", "%5"), answer("/t", "%5", server=2))
    assert state(known, naming("%5")) == (UNKNOWN, True)
    assert not known.wants_answer(known.locate(naming("%5")))


def test_a_yes_waits_for_the_servers_that_have_not_answered() -> None:
    """Of two servers the one that answers first gets no claim that may be the other's, unless the owner is known."""
    known = directory(listing("/s", "/t"), answer("/s", "%5"))
    assert state(known, naming("%5")) == (UNKNOWN, False)
    assert known.wants_answer(known.locate(naming("%5")))
    assert state(known, naming("%5", tmux_socket="/s")) == (ALIVE, True)
    for last in (answer("/t"), silence("/t")):
        known.see(last)
        assert state(known, naming("%5")) == (ALIVE, True)


def test_the_owners_environment_tells_servers_apart() -> None:
    """Where the owner's environment names one of the servers that have the id, it is that one's."""
    known = directory(listing("/s", "/t"), answer("/s", "%5"), answer("/t", "%5", server=2))
    located = known.locate(naming("%5", tmux_socket="/t"))
    assert (located.session, located.pin) == (ALIVE, pane_ref("%5", server=2, socket="/t"))


def test_a_server_younger_than_the_lock_is_a_stranger() -> None:
    """A server that started more than 2 s after the lock was taken has numbers of its own."""
    known = directory(listing("/s"), answer("/s", "%5", started=12.5))
    assert state(known, naming("%5")) == (DEAD, True)
    known.see(answer("/s", "%5", server=2, started=12.0))
    assert state(known, naming("%5")) == (ALIVE, True)


def test_a_younger_server_leaves_the_older_one_alone_with_it() -> None:
    """Of two servers with the number, one of which is too young, it is the other's."""
    known = directory(listing("/s", "/t"), answer("/s", "%5"), answer("/t", "%5", server=2, started=100.0))
    assert state(known, naming("%5")) == (ALIVE, True)


def test_a_server_is_not_judged_by_a_lock_without_a_time() -> None:
    """Where the lock has no usable time, no server is too young."""
    known = directory(listing("/s"), answer("/s", "%5", started=1000.0))
    timeless = naming("%5")
    timeless = replace(timeless, record=replace(timeless.record, acquired_at=None))
    assert state(known, timeless) == (ALIVE, True)


def test_the_next_server_on_the_socket_is_a_stranger_to_a_session_that_was_seen() -> None:
    """Where the server that had the session is followed on its socket by another, the number is another's."""
    known = directory(listing("/s"), answer("/s", "%5"))
    pinned = known.locate(naming("%5"))
    known.see(answer("/s", "%5", server=2, started=11.0, asked=20.0))
    assert state(known, pinned) == (DEAD, True)


def test_an_answer_older_than_the_lock_makes_no_stranger_of_the_next_server() -> None:
    """A lock that was written on a new server, and first looked up by what the old one had said, is the new one's."""
    known = directory(listing("/s", asked=BEFORE), answer("/s", "%5", asked=BEFORE))
    mistaken = known.locate(naming("%5", process=Liveness.ALIVE))
    assert mistaken.session is ALIVE
    assert known.wants_answer(mistaken)
    known.see(listing("/s"))
    known.see(answer("/s", "%5", server=2, started=9.0))
    located = known.locate(mistaken)
    assert (located.session, located.pin) == (ALIVE, pane_ref("%5", server=2))


def test_a_pinned_session_may_be_renamed() -> None:
    """Once a name was found, the session is meant, whatever it is called later, and whoever has the name then."""
    known = directory(listing("/s"), answer("/s", "%5 $1 ada"))
    pinned = known.locate(naming("ada"))
    known.see(answer("/s", "%5 $1 bob", "%6 $2 ada", asked=20.0))
    located = known.locate(pinned)
    assert (located.session, located.pin) == (ALIVE, SessionRef("/s", 1, "$1"))
    assert state(known, naming("bob"))[0] is ALIVE


def test_when_the_pinned_session_is_gone_the_name_is_looked_up_again() -> None:
    """A session that comes back under its name is the session again."""
    known = directory(listing("/s"), answer("/s", "%5 $1 ada"))
    pinned = known.locate(naming("ada"))
    known.see(answer("/s", "%6 $2 ada", asked=20.0))
    located = known.locate(pinned)
    assert (located.session, located.pin) == (ALIVE, SessionRef("/s", 1, "$2"))


def test_a_pinned_session_on_a_server_that_hangs_is_unknown() -> None:
    """A server that hangs has not lost the session; the pane it means is remembered."""
    known = directory(listing("/s", "/t"), answer("/s", "%5"), answer("/t"))
    pinned = known.locate(naming("%5"))
    known.see(silence("/s", asked=20.0))
    located = known.locate(pinned)
    assert (located.session, located.settled, located.pane) == (UNKNOWN, True, pane_ref("%5"))
    known.see(answer("/s", "%5", asked=21.0))
    assert state(known, located) == (ALIVE, True)


def test_a_pin_stays_when_another_server_gets_the_number() -> None:
    """What was found while it was unique stays found."""
    known = directory(listing("/s", "/t"), answer("/s", "%5"), answer("/t"))
    pinned = known.locate(naming("%5"))
    known.see(answer("/t", "%5", server=2, asked=20.0))
    assert state(known, pinned) == (ALIVE, True)
    assert state(known, naming("%5")) == (UNKNOWN, True)


def test_a_server_that_is_listed_no_more_is_forgotten() -> None:
    """What a server said that is gone counts no longer."""
    known = directory(listing("/s"), answer("/s", "%5"))
    pinned = known.locate(naming("%5"))
    known.see(listing(asked=20.0))
    assert state(known, pinned) == (DEAD, True)


def test_a_server_is_not_forgotten_for_a_listing_that_failed() -> None:
    """Where a user's servers cannot be listed any more, what they said counts still, whoever else is listed."""
    known = directory(listing("/s"), listing("/t", uid=SHE), answer("/s", "%5"), answer("/t", "%6"))
    pinned = known.locate(naming("%5"))
    known.see(unlisted(asked=20.0))
    known.see(listing("/t", uid=SHE, asked=21.0))
    assert state(known, pinned) == (ALIVE, True)


def test_a_server_is_forgotten_though_another_users_cannot_be_listed() -> None:
    """Where its own user's servers are listed without it, it is gone, whatever is known of other users'."""
    known = directory(listing("/s"), unlisted(uid=SHE), answer("/s", "%5"))
    pinned = known.locate(naming("%5"))
    assert known.see(listing(asked=20.0)).everything
    assert state(known, pinned) == (DEAD, True)
    assert state(known, replace(pinned, uid=SHE)) == (UNKNOWN, True)


def test_servers_that_can_be_asked_count_where_others_cannot() -> None:
    """A listing that is not whole names those that can be asked: what they have is alive, what they lack is unknown."""
    known = directory(replace(unlisted(), reachable=frozenset({"/s"})), answer("/s", "%5"))
    assert state(known, naming("%5")) == (ALIVE, True)
    assert state(known, naming("%6")) == (UNKNOWN, True)


@pytest.mark.parametrize("late", [answer("/s", asked=12.0), silence("/s", asked=12.0)], ids=["a no", "none"])
def test_an_older_answer_does_not_undo_a_newer(late: SessionsSeen) -> None:
    """An answer that comes late counts for when it was asked for."""
    known = directory(listing("/s"), answer("/s", "%5"), late)
    assert state(known, naming("%5")) == (ALIVE, True)


def test_an_older_listing_does_not_undo_a_newer() -> None:
    """A listing that comes late counts for when it was asked for."""
    known = directory(listing("/s"), answer("/s", "%5"), listing(asked=12.0))
    assert state(known, naming("%5")) == (ALIVE, True)


def test_an_owner_on_a_server_that_is_not_asked_is_unknown() -> None:
    """Where the operator names the servers to ask, by path or by name, one that another server has is out of sight."""
    for named in ("/tmp/tmux-1/gt", "gt"):
        known = SessionDirectory(ME, named=[named])
        known.see(listing("/tmp/tmux-1/gt"))
        known.see(answer("/tmp/tmux-1/gt", "%5"))
        assert state(known, naming("%6", tmux_socket="/tmp/tmux-1/gt")) == (DEAD, True)
        assert state(known, naming("%5", tmux_socket="/tmp/tmux-1/default")) == (UNKNOWN, True)
