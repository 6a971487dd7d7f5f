"""What tmux answers, for tests, and what that makes of a session. Times are monotonic seconds."""

from dataclasses import replace
from functools import partial

from rules.model import Claim, Liveness, SessionState
from tests.rules.builders import claim
from watcher import testing
from watcher.events import ServersSeen, SessionsSeen, Unreachable
from watcher.registry.sessions import SessionDirectory
from watcher.testing import at

ME, SHE = testing.UID, 2
HUNG = Unreachable("it hangs")
BEFORE, AFTER = 5.0, 15.0
"""When tmux was asked, for claims that are from 10.0."""


def naming(session_id: str, *, process: Liveness = Liveness.DEAD, uid: int = ME, tmux_socket: str = "") -> Claim:
    """Make a claim that was read at 10.0, of a process that was dead by then, and names a session."""
    made = claim(process, SessionState.UNKNOWN, session_id=session_id, taken=10.0)
    return replace(made, uid=uid, asked_after=10.0, tmux_socket=tmux_socket, settled=False)


listing = partial(testing.listing, asked=AFTER)
answer = partial(testing.answer, asked=AFTER)


def unlisted(*, asked: float = AFTER, uid: int = ME) -> ServersSeen:
    """Make the answer that a user's servers cannot be listed."""
    return ServersSeen(uid, Unreachable("permission denied"), asked, at(asked))


def silence(socket: str, *, asked: float = AFTER) -> SessionsSeen:
    """Make the answer that a server gave none."""
    return SessionsSeen(socket, HUNG, asked, at(asked))


def directory(*events: ServersSeen | SessionsSeen, enabled: bool = True, alias: bool = False) -> SessionDirectory:
    """Make a directory that has seen some answers."""
    made = SessionDirectory(ME, enabled=enabled, alias=alias)
    for event in events:
        made.see(event)
    return made


def state(known: SessionDirectory, of: Claim) -> tuple[SessionState, bool]:
    """Say what is known of a claim's session, and whether it is settled."""
    located = known.locate(of)
    return located.session, located.settled
