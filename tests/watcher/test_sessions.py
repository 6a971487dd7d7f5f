from dataclasses import replace

import pytest

from rules.model import Liveness, PaneRef, SessionRef, SessionState
from tests.rules.builders import pane_ref
from tests.watcher.answers import AFTER, BEFORE, SHE, answer, directory, listing, naming, silence, state, unlisted
from watcher.events import Pane, ServersSeen, Sessions, SessionsSeen
from watcher.registry.sessions import Changed
from watcher.testing import at

ALIVE, DEAD, UNKNOWN, NONE = SessionState.ALIVE, SessionState.DEAD, SessionState.UNKNOWN, SessionState.NONE


@pytest.mark.parametrize(
    ("session_id", "pin", "pane"),
    [
        ("%5", pane_ref("%5"), pane_ref("%5")),
        ("$3", SessionRef("/s", 1, "$3"), pane_ref("%5")),
        ("ada", SessionRef("/s", 1, "$3"), pane_ref("%5")),
        ("$4", SessionRef("/s", 1, "$4"), None),
        ("bob", SessionRef("/s", 1, "$4"), None),
        ("rig/eve", SessionRef("/s", 1, "$5"), pane_ref("%9")),
    ],
)
def test_an_id_is_looked_up_as_what_it_is(session_id: str, pin: PaneRef | SessionRef, pane: PaneRef | None) -> None:
    """An id is a pane, a session's number or its name; a session of one pane means that pane."""
    known = directory(listing("/s"), answer("/s", "%5 $3 ada", "%6 $4 bob", "%7 $4 bob", "%9 $5 rig/eve"))
    located = known.locate(naming(session_id))
    assert (located.session, located.settled) == (ALIVE, True)
    assert (located.pin, located.pane) == (pin, pane)


def test_a_window_linked_into_two_sessions_lists_its_pane_twice() -> None:
    """One pane in two sessions is one pane, and each session has it."""
    known = directory(listing("/s"), answer("/s", "%5 $1 ada", "%5 $2 bob"))
    for session_id in ("%5", "ada", "bob"):
        assert known.locate(naming(session_id)).pane == pane_ref("%5")


@pytest.mark.parametrize("session_id", ["%6", "$5", "eve", "rig", "%", "5", "main:1"])
def test_what_no_server_has_is_dead(session_id: str) -> None:
    """Where every server that is there answered without it, it is dead; a number alone is neither pane nor session."""
    assert state(directory(listing("/s"), answer("/s", "%5 $1 ada")), naming(session_id)) == (DEAD, True)


def test_without_a_server_all_sessions_are_dead() -> None:
    """Where no server runs, or one without sessions, no session lives."""
    assert state(directory(listing()), naming("%5")) == (DEAD, True)
    assert state(directory(listing("/s"), answer("/s")), naming("%5")) == (DEAD, True)


def test_a_pane_marked_dead_is_gone() -> None:
    """With remain-on-exit a dead pane is listed still; its session is there, the pane is not."""
    known = directory(listing("/s"), answer("/s", "%5 $1 ada", dead=True))
    assert state(known, naming("%5")) == (DEAD, True)
    assert state(known, naming("ada")) == (ALIVE, True)


def test_a_lock_without_a_session_names_none() -> None:
    """Where the lock names no session there is nothing to ask."""
    assert state(directory(), naming("")) == (NONE, True)
    assert not directory().wants_answer(naming(""))


def test_tmux_switched_off_knows_nothing() -> None:
    """With tmux switched off every session is unknown, for good, and nothing is asked."""
    off = directory(listing("/s"), answer("/s", "%5"), enabled=False)
    assert state(off, naming("%5")) == (UNKNOWN, True)
    assert not off.wants_answer(off.locate(naming("%5")))


@pytest.mark.parametrize(
    "answers",
    [
        (listing(asked=BEFORE),),
        (listing("/s", asked=BEFORE), answer("/s", asked=AFTER)),
        (listing("/s", asked=AFTER), answer("/s", asked=BEFORE)),
        (listing("/s", asked=10.0), answer("/s", asked=10.0)),
        (listing("/s"),),
        (answer("/s"),),
        (),
    ],
    ids=[
        "an old listing",
        "an old listing, a new answer",
        "a new listing, an old answer",
        "asked as the lock was read",
        "no answer",
        "no listing",
        "nothing",
    ],
)
def test_a_no_from_before_the_lock_settles_nothing(answers: tuple[ServersSeen | SessionsSeen, ...]) -> None:
    """A "no" counts only where it was asked for after the lock was read, of every server; until then one is wanted."""
    known = directory(*answers)
    located = known.locate(naming("%5"))
    assert (located.session, located.settled) == (UNKNOWN, False)
    assert known.wants_answer(located)
    running = known.locate(naming("%5", process=Liveness.ALIVE))
    assert (running.session, running.settled) == (UNKNOWN, True)
    assert known.wants_answer(running)


def test_a_yes_from_before_the_death_settles_nothing() -> None:
    """A session may have died with the process: an older "yes" waits for a new one, unless the process lives."""
    known = directory(listing("/s", asked=BEFORE), answer("/s", "%5", asked=BEFORE))
    assert state(known, naming("%5")) == (ALIVE, False)
    assert state(known, naming("%5", process=Liveness.ALIVE)) == (ALIVE, True)
    assert known.wants_answer(known.locate(naming("%5", process=Liveness.ALIVE)))
    known.see(answer("/s", "%5", asked=AFTER))
    assert state(known, naming("%5")) == (ALIVE, True)
    assert not known.wants_answer(known.locate(naming("%5")))


@pytest.mark.parametrize(
    "answers",
    [
        (listing("/s"), silence("/s")),
        (listing("/s", "/t"), answer("/s"), silence("/t")),
        (unlisted(),),
        (unlisted(), answer("/s")),
    ],
    ids=["a server that hangs", "one of two hangs", "no listing to be had", "who may not be listed may have it"],
)
def test_a_server_that_says_nothing_makes_every_no_unknown(answers: tuple[ServersSeen | SessionsSeen, ...]) -> None:
    """A server that hangs or may not be asked may have the session, and asking again would not tell more."""
    known = directory(*answers)
    assert state(known, naming("%5")) == (UNKNOWN, True)
    assert not known.wants_answer(known.locate(naming("%5")))


def test_a_yes_counts_beside_a_server_that_says_nothing() -> None:
    """What one server has is alive, whatever another does."""
    known = directory(listing("/s", "/t"), answer("/s", "%5"), silence("/t"))
    assert state(known, naming("%5")) == (ALIVE, True)


def test_the_owners_servers_are_asked_and_mine() -> None:
    """A lock's session may be on the servers of the file's owner or of the watcher's user, and on no others."""
    answers = answer("/mine", "%1"), answer("/hers", "%2"), answer("/his", "%3")
    known = directory(listing("/mine"), listing("/hers", uid=SHE), listing("/his", uid=3), *answers)
    assert [state(known, naming(pane, uid=SHE))[0] for pane in ("%1", "%2", "%3")] == [ALIVE, ALIVE, DEAD]
    assert [state(known, naming(pane))[0] for pane in ("%1", "%2", "%3")] == [ALIVE, DEAD, DEAD]


def test_the_owners_servers_must_have_been_listed() -> None:
    """Before the owner's servers were listed nothing is known, and an answer is wanted."""
    known = directory(listing("/s"), answer("/s"))
    assert state(known, naming("%5", uid=SHE)) == (UNKNOWN, False)
    known.see(listing(uid=SHE))
    assert state(known, naming("%5", uid=SHE)) == (DEAD, True)


def test_a_descriptive_id_that_no_server_knows_is_not_missing() -> None:
    """What the writer puts in outside tmux is unknown, not dead; where a session has that name, it is the session."""
    known = directory(listing("/s"), answer("/s", "%5 $1 rig/ada"))
    assert state(known, replace(naming("rig/bob"), descriptive=True)) == (UNKNOWN, True)
    assert state(known, replace(naming("rig/ada"), descriptive=True)) == (ALIVE, True)
    assert not known.wants_answer(known.locate(replace(naming("rig/bob"), descriptive=True)))


def test_a_pane_number_is_no_session_number() -> None:
    """`%5` is not session `$5`, unless the operator wants the original's alias; a pane goes first even then."""
    answers = listing("/s"), answer("/s", "%1 $5 ada", "%2 $6 bob", "%6 $7 eve")
    assert state(directory(*answers), naming("%5")) == (DEAD, True)
    aliased = directory(*answers, alias=True)
    assert aliased.locate(naming("%5")).pin == SessionRef("/s", 1, "$5")
    assert aliased.locate(naming("%6")).pin == pane_ref("%6")


def test_an_answer_names_what_it_changed() -> None:
    """Ids as locks write them, and pins: what came, what went, what has other panes or another name now."""
    known = directory(listing("/s"), answer("/s", "%5 $1 ada", "%6 $2 bob", "%9 $4 eve"))
    changed = known.see(answer("/s", "%5 $1 ada", "%7 $2 bob", "%8 $3 fay", "%9 $4 eva"))
    assert not changed.everything
    assert {"%6", "%7", "%8", "$2", "bob", "$3", "fay", "eve", "eva"} <= changed.ids
    assert not {"%5", "$1", "ada", "%9"} & changed.ids
    assert {pane_ref("%6"), SessionRef("/s", 1, "$2")} <= changed.pins


def test_the_same_answer_changes_nothing() -> None:
    """An answer that is like the one before concerns nobody; nor does another silence."""
    known = directory(listing("/s", "/t"), answer("/s", "%5"), silence("/t"))
    for event in (answer("/s", "%5", asked=20.0), silence("/t", asked=20.0), listing("/s", "/t", asked=20.0)):
        changed = known.see(event)
        assert changed == Changed()


@pytest.mark.parametrize(
    "event",
    [
        silence("/s", asked=20.0),
        answer("/s", "%5", server=2, asked=20.0),
        listing(asked=20.0),
        unlisted(asked=20.0),
        listing(uid=SHE, asked=20.0),
    ],
    ids=["it hangs", "another server", "it is gone", "no listing", "another user"],
)
def test_what_may_concern_every_claim(event: ServersSeen | SessionsSeen) -> None:
    """A server that hangs, goes or begins anew makes all be looked up again, and so does a user's first listing."""
    assert directory(listing("/s"), answer("/s", "%5")).see(event).everything


def test_the_first_answer_names_the_aliases_too() -> None:
    """With the alias on, a session's number concerns the locks that write it as a pane."""
    changed = directory(listing("/s"), alias=True).see(answer("/s", "%1 $5 ada"))
    assert {"%1", "$5", "ada", "%5"} <= changed.ids


# Who works where


def test_a_pane_occupies_its_directory_and_those_around_it() -> None:
    """A pane whose current path is inside a directory occupies it, until it goes elsewhere."""
    pane = Pane("%7", 1, dead=False, session="$1", name="main", path="/w/rig/ada/src")
    known = directory(listing("/s"))
    known.see(SessionsSeen("/s", Sessions(1, 0.0, (pane,)), AFTER, at(AFTER)))
    assert [known.occupant(d) for d in ("/w/rig/ada", "/w/rig/ada/src", "/w")] == ["pane %7"] * 3
    assert [known.occupant(d) for d in ("/w/rig/ad", "/w/rig/ada/src/x", "/w/rig/bob")] == [""] * 3
    known.see(SessionsSeen("/s", Sessions(1, 0.0, (replace(pane, path="/tmp"),)), 20.0, at(20.0)))
    assert known.occupant("/w/rig/ada") == ""
    known.see(silence("/s", asked=21.0))
    assert known.occupant("/tmp") == ""
