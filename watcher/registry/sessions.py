"""What the tmux servers have answered, and what that says of one session id. Pure.

A "yes" counts whenever it was given, unless the process has died since, or it is not known which server is meant
and one has not answered yet: it may have the same number. A "no" counts only where every server
that is there gave it, and was asked after the lock was read; until then the answer is UNKNOWN, and a fresh one
is wanted. A server that is not reachable may have the session, so it makes every "no" an UNKNOWN too.
"""

from collections.abc import Collection
from dataclasses import dataclass, field, replace

from rules.identity import started_too_late
from rules.model import Claim, Liveness, PaneRef, SessionRef, SessionState
from watcher.events import Pane, ServersSeen, Sessions, SessionsSeen, Unreachable

_NEVER = float("-inf")

Ref = PaneRef | SessionRef


@dataclass(frozen=True, slots=True)
class Changed:
    """What an answer changed: session ids as locks write them, and pins; or so much that all must be looked at."""

    ids: frozenset[str] = frozenset()
    pins: frozenset[Ref] = frozenset()
    everything: bool = False


@dataclass(slots=True)
class _Server:
    """One server that answered, indexed by all that a lock may call a session."""

    socket: str
    server: int
    started_at: float
    asked: float
    panes: dict[str, Pane] = field(default_factory=dict)
    sessions: dict[str, tuple[str, ...]] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)

    def find(self, session_id: str, *, alias: bool) -> Ref | None:
        """Look up a pane `%N`, a session `$N`, or a session name; a pane marked dead is not there."""
        if session_id in self.panes:
            return PaneRef(self.socket, self.server, session_id)
        if alias and session_id.startswith("%") and "$" + session_id[1:] in self.sessions:
            return SessionRef(self.socket, self.server, "$" + session_id[1:])
        session = session_id if session_id in self.sessions else self.names.get(session_id)
        return SessionRef(self.socket, self.server, session) if session is not None else None

    def has(self, ref: Ref) -> bool:
        if ref.server != self.server:
            return False
        return ref.pane in self.panes if isinstance(ref, PaneRef) else ref.session in self.sessions

    def pane_of(self, ref: Ref) -> PaneRef | None:
        """Give the one pane that a reference comes down to; None where a session has several."""
        if isinstance(ref, PaneRef):
            return ref
        panes = self.sessions[ref.session]
        return PaneRef(self.socket, self.server, panes[0]) if len(panes) == 1 else None

    def ids(self) -> frozenset[str]:
        return frozenset((*self.panes, *self.sessions, *self.names, *map(_aliased, self.sessions)))


def _aliased(session: str) -> str:
    """Give what a lock may call session `$N` by under `tmux.session_alias`."""
    return "%" + session[1:]


def _index(socket: str, answer: Sessions, asked: float) -> _Server:
    server = _Server(socket, answer.server, answer.started_at, asked)
    for pane in answer.panes:
        server.names[pane.name] = pane.session
        living = server.sessions.setdefault(pane.session, ())
        # A window linked into several sessions lists its panes once for each; within one, once.
        if not pane.dead and pane.pane not in living:
            server.panes[pane.pane] = pane
            server.sessions[pane.session] = (*living, pane.pane)
    return server


def _difference(before: _Server, after: _Server) -> Changed:
    if before.server != after.server:
        return Changed(everything=True)
    ids = set(before.panes.keys() ^ after.panes.keys())
    for old, new in ((before.sessions, after.sessions), (before.names, after.names)):
        ids.update(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))
    sessions = {key for key in ids if key.startswith("$")}
    ids.update(name for table in (before.names, after.names) for name, key in table.items() if key in sessions)
    ids.update(map(_aliased, sessions))
    pins: set[Ref] = {SessionRef(after.socket, after.server, key) for key in sessions}
    pins.update(PaneRef(after.socket, after.server, key) for key in ids if key.startswith("%"))
    return Changed(frozenset(ids), frozenset(pins))


class SessionDirectory:
    """Every tmux server that is known of, and the last that each said.

    `uid` is the watcher's own: its servers count for every lock, those of a lock's owner for that lock.
    `named`: only the servers on these sockets (paths, or names) are asked, so one that a lock's owner names may be
    out of sight. `alias`: take `%N` for session `$N` too, as the original did.
    """

    def __init__(self, uid: int, *, enabled: bool = True, named: Collection[str] = (), alias: bool = False) -> None:
        self._uid = uid
        self._enabled = enabled
        self._named = frozenset(named)
        self._alias = alias
        self._listings: dict[int, ServersSeen] = {}
        self._answers: dict[str, _Server | Unreachable] = {}
        self._asked: dict[str, float] = {}
        self._owners: dict[str, int] = {}
        self._paths: dict[str, str] | None = None

    def see(self, event: ServersSeen | SessionsSeen) -> Changed:
        """Take in which servers a user has, or what one of them answered."""
        return self._see_servers(event) if isinstance(event, ServersSeen) else self._see_sessions(event)

    def locate(self, claim: Claim) -> Claim:
        """Return the claim with what is known now of its session: state, pin, pane, and whether that is settled."""
        if not claim.record.session_id:
            return replace(claim, session=SessionState.NONE, pin=None, pane=None, settled=True)
        if not self._enabled:
            return replace(claim, session=SessionState.UNKNOWN, settled=True)
        if claim.pin is not None:
            answer = self._answers.get(claim.pin.socket)
            if isinstance(answer, Unreachable):
                return replace(claim, session=SessionState.UNKNOWN, settled=True)
            if answer is not None and answer.has(claim.pin):
                return _found(claim, answer, claim.pin)
        return self._look_up(claim)

    def wants_answer(self, claim: Claim) -> bool:
        """Say whether a fresh answer of the servers would tell more about a claim than is known."""
        if not self._enabled or not claim.record.session_id:
            return False
        return (
            not claim.settled
            or (claim.session is SessionState.UNKNOWN and self._oldest_answer(claim) <= claim.seen.mono)
            or (claim.session is SessionState.ALIVE and claim.pin != claim.former)
        )

    def occupant(self, directory: str) -> str:
        """Name a pane whose current path is `directory` or below it; empty where there is none."""
        if self._paths is None:
            self._paths = {}
            for server in self._answers.values():
                if isinstance(server, _Server):
                    for pane in server.panes.values():
                        _note_path(self._paths, pane)
        return self._paths.get(directory, "")

    def _see_servers(self, event: ServersSeen) -> Changed:
        """Take in which servers a user has; forget what the ones that are gone have said."""
        before = self._listings.get(event.uid)
        if before is not None and event.asked < before.asked:
            return Changed()
        self._listings[event.uid] = event
        self._owners.update(dict.fromkeys(_listed(event), event.uid))
        self._paths = None
        unreachable = isinstance(event.sockets, Unreachable)
        was_unreachable = before is not None and isinstance(before.sockets, Unreachable)
        gone = self._forget_unlisted()
        return Changed(everything=gone or before is None or unreachable != was_unreachable)

    def _forget_unlisted(self) -> bool:
        """Forget what servers have said that nobody has any more, as far as their owners' can be listed."""
        listed = {socket for listing in self._listings.values() for socket in _listed(listing)}
        unclear = {uid for uid, listing in self._listings.items() if isinstance(listing.sockets, Unreachable)}
        unlisted = self._answers.keys() - listed
        gone = {s for s in unlisted if not (self._owners[s] in unclear if s in self._owners else unclear)}
        for socket in gone:
            del self._answers[socket], self._asked[socket]
            self._owners.pop(socket, None)
        return bool(gone)

    def _see_sessions(self, event: SessionsSeen) -> Changed:
        """Take in what one server answered, or that it did not."""
        if event.asked < self._asked.get(event.socket, _NEVER):
            return Changed()
        self._asked[event.socket] = event.asked
        before = self._answers.get(event.socket)
        self._paths = None
        if isinstance(event.answer, Unreachable):
            self._answers[event.socket] = event.answer
            return Changed(everything=not isinstance(before, Unreachable))
        after = _index(event.socket, event.answer, event.asked)
        self._answers[event.socket] = after
        if isinstance(before, _Server):
            return _difference(before, after)
        return Changed(everything=True) if isinstance(before, Unreachable) else Changed(after.ids())

    def _look_up(self, claim: Claim) -> Claim:
        unknown = replace(claim, session=SessionState.UNKNOWN, settled=True)  # pin and pane stay as they were
        if not self._is_in_sight(claim.tmux_socket):
            return unknown
        answers = [self._answers.get(socket) for socket in sorted(self._sockets(claim))]
        found = [
            (server, ref)
            for server in answers
            if isinstance(server, _Server)
            and not _is_stranger(server, claim)
            and (ref := server.find(claim.record.session_id, alias=self._alias)) is not None
        ]
        own = [(server, ref) for server, ref in found if claim.tmux_socket in {"", server.socket}]
        if own and not claim.tmux_socket and None in answers:
            return replace(unknown, settled=False)
        if len(own) == 1:
            return _found(claim, *own[0])
        if found or any(isinstance(answer, Unreachable) for answer in answers) or self._unlisted(claim):
            return unknown
        if self._oldest_answer(claim) > claim.seen.mono:
            gone = replace(claim, session=SessionState.DEAD, pin=None, pane=None, settled=True)
            return unknown if claim.descriptive else gone
        return replace(unknown, settled=claim.process is not Liveness.DEAD)

    def _relevant(self, claim: Claim) -> list[ServersSeen | None]:
        return [self._listings.get(uid) for uid in {claim.uid, self._uid}]

    def _unlisted(self, claim: Claim) -> bool:
        """Say whether some user's servers could not be listed at all."""
        return any(seen is not None and isinstance(seen.sockets, Unreachable) for seen in self._relevant(claim))

    def _is_in_sight(self, socket: str) -> bool:
        """Say whether a server that a lock's owner named, if it named one, is among those that are asked."""
        return not self._named or not socket or not self._named.isdisjoint({socket, socket.rpartition("/")[2]})

    def _sockets(self, claim: Claim) -> set[str]:
        """List the servers that may have a claim's session."""
        return {socket for seen in self._relevant(claim) if seen is not None for socket in _listed(seen)}

    def _oldest_answer(self, claim: Claim) -> float:
        """Say when the question was put that has the oldest answer among those a claim depends on."""
        asked = [seen.asked if seen is not None else _NEVER for seen in self._relevant(claim)]
        for socket in self._sockets(claim):
            answer = self._answers.get(socket)
            if not isinstance(answer, Unreachable):
                asked.append(answer.asked if answer is not None else _NEVER)
        return min(asked)


def _listed(seen: ServersSeen) -> frozenset[str]:
    return seen.reachable if isinstance(seen.sockets, Unreachable) else seen.sockets


def _is_stranger(server: _Server, claim: Claim) -> bool:
    """Say whether a server came after the one that had a claim's session: its numbers have begun again."""
    former = claim.former
    if former is not None and former.socket == server.socket and former.server != server.server:
        return True
    return started_too_late(server.started_at, claim.record)


def _found(claim: Claim, server: _Server, ref: Ref) -> Claim:
    # The session may have died with the process: an answer from before its death settles nothing.
    settled = claim.process is not Liveness.DEAD or server.asked > claim.asked_after
    # One from before the lock may be of a server that had ended when the lock was written.
    former = ref if server.asked > claim.seen.mono else claim.former
    pane = server.pane_of(ref)
    return replace(claim, session=SessionState.ALIVE, pin=ref, pane=pane, former=former, settled=settled)


def _note_path(paths: dict[str, str], pane: Pane) -> None:
    """Note a pane under the directory it is in and under every directory around that."""
    path = pane.path
    while path and path not in paths:
        paths[path] = f"pane {pane.pane}"
        path = path.rpartition("/")[0]
