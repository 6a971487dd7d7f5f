"""A list of sessions that somebody else has, in place of asking tmux."""

import math
from collections.abc import Iterable

from rules.model import Moment
from watcher.events import Pane, ServersSeen, Sessions, SessionsSeen

_SOCKET = ""
"""The socket of a server that there is not."""

_NOBODY = "\udcff"
"""Begins the names of what the list leaves open. No lock holds a lone surrogate, so none names one of these."""


def listed(sessions: Iterable[str], uids: Iterable[int], at: Moment) -> list[ServersSeen | SessionsSeen]:
    """Say that these sessions are there for each of `uids`, and no others.

    Each is a session name, `$N` or `%N`, as locks name them. Such a list is current by definition.
    """
    panes = tuple(pane for number, session in enumerate(sessions) for pane in _panes(session, f"{_NOBODY}{number}"))
    servers = [ServersSeen(uid, frozenset({_SOCKET}), math.inf, at) for uid in uids]
    return [*servers, SessionsSeen(_SOCKET, Sessions(0, 0.0, panes), math.inf, at)]


def _panes(session: str, other: str) -> list[Pane]:
    """Make the panes that a session id stands for; where it names no pane, two: nobody knows which it is."""
    if session.startswith("%"):
        return [Pane(session, 0, dead=False, session=other, name=other)]
    key, name = (session, other) if session.startswith("$") else (other, session)
    return [Pane(f"{other}{half}", 0, dead=False, session=key, name=name) for half in "ab"]
