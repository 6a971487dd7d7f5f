"""The verdict table: what process, session and agent add up to."""

from rules.model import Claim, Liveness, SessionState, Verdict

LIVE = frozenset({Verdict.HELD, Verdict.HELD_BY_SESSION, Verdict.HELD_BY_AGENT, Verdict.ORPHAN})
"""The verdicts under which a claim counts as live: somebody is there who may act on it."""

_DEAD_PROCESS = {
    SessionState.ALIVE: Verdict.HELD_BY_SESSION,
    SessionState.DEAD: Verdict.STALE,
    SessionState.NONE: Verdict.STALE,
}

_DEAD_PROCESS_UNKNOWN_SESSION = {
    Liveness.ALIVE: Verdict.HELD_BY_AGENT,
    Liveness.DEAD: Verdict.STALE,
    Liveness.UNKNOWN: Verdict.UNVERIFIABLE,
}


def verdict(process: Liveness, session: SessionState, agent: Liveness) -> Verdict:
    """Say what the three facts about one lock add up to.

    The agent is asked only where the process is gone and the session is not known, so it only ever adds
    certainty: an orchestrator that outlives its agents does not keep their locks alive.
    """
    match process, session:
        case Liveness.UNKNOWN, _:
            return Verdict.UNVERIFIABLE
        case Liveness.ALIVE, SessionState.DEAD:
            return Verdict.ORPHAN
        case Liveness.ALIVE, _:
            return Verdict.HELD
        case _, SessionState.UNKNOWN:
            return _DEAD_PROCESS_UNKNOWN_SESSION[agent]
        case _:
            return _DEAD_PROCESS[session]


def verdict_of(claim: Claim) -> Verdict:
    """Say what the facts of a claim add up to."""
    return verdict(claim.process, claim.session, claim.agent)


def is_live(claim: Claim) -> bool:
    """Say whether somebody is there who may act on this claim; False also where that is not known."""
    return verdict_of(claim) in LIVE
