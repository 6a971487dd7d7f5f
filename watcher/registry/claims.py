"""One claim, from the lock that was read to what its probes say of it. Pure: each step returns a new claim."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from rules.identity import Host, bore_before, process_state, same_owner, same_process
from rules.model import Claim, Liveness, LockRecord, Moment, ProcessFact, ProcessIdentity, Verdict
from rules.verdict import LIVE, verdict_of
from watcher.events import Reading


@dataclass(frozen=True, slots=True)
class Judge:
    """What judging a claim depends on: this host, and which session ids are descriptive (globs)."""

    host: Host
    descriptive: Sequence[str] = ("*/*",)

    def open(self, record: LockRecord, reading: Reading, at: Moment) -> Claim:
        """Begin a claim from a lock that was just read."""
        claim = Claim(
            record=record,
            seen=at,
            uid=reading.uid,
            tmux_socket=reading.tmux_socket,
            descriptive=self._is_descriptive(record),
            asked_after=at.mono,
        )
        return self.with_process(claim, reading.process, at)

    def with_process(self, claim: Claim, fact: ProcessFact | None, at: Moment) -> Claim:
        """Add what a probe of the recorded pid gave.

        Dead is for good: whatever bears the number later is another process. The first living bearer, if it
        is not younger than the lock, is the owner from then on.
        """
        if claim.process is Liveness.DEAD:
            return claim
        if fact is not None and claim.identity is not None:
            fact = _about(claim.identity, fact)
            if fact is None:
                return claim
        state = process_state(claim.record, fact, self.host)
        if state is Liveness.DEAD:
            return replace(claim, process=state, asked_after=at.mono)
        claim = replace(claim, process=state)
        if fact is None or state is not Liveness.ALIVE:
            return claim
        if fact.agent is not None and claim.agent_identity is None:
            claim = replace(claim, agent_identity=fact.agent.identity, agent=fact.agent.state)
        return replace(claim, identity=claim.identity or fact.identity)

    def with_pid(self, claim: Claim, pid: int, fact: ProcessFact, at: Moment) -> Claim:
        """Add what became known of a pid that may be the recorded process, the agent behind it, or neither."""
        anchor = claim.agent_identity
        if anchor is not None and anchor.pid == pid and claim.agent is not Liveness.DEAD:
            about = _about(anchor, fact)
            claim = replace(claim, agent=about.state) if about is not None else claim
        if claim.record.pid == pid and self.is_here(claim):
            claim = self.with_process(claim, fact, at)
        return claim

    def revised(self, claim: Claim) -> Claim:
        """Look at a claim anew, by settings that it was not opened by."""
        if not self.is_here(claim):
            claim = replace(claim, process=Liveness.UNKNOWN, pin=None, pane=None)
        return replace(claim, descriptive=self._is_descriptive(claim.record))

    def is_here(self, claim: Claim) -> bool:
        """Say whether a claim was made on this host, so that its pid and its session are ours to judge."""
        return self.host.is_here(claim.record.hostname)

    def same_owner(self, one: Claim, two: Claim) -> bool:
        """Say whether two claims on one worker are one owner's."""
        return same_owner(one, two, self.host)

    def _is_descriptive(self, record: LockRecord) -> bool:
        return any(fnmatchcase(record.session_id, glob) for glob in self.descriptive)


def _about(who: ProcessIdentity, fact: ProcessFact) -> ProcessFact | None:
    """Say what a fact about a pid tells of one bearer of it; None where it is late news of an earlier one."""
    if fact.identity is None or same_process(who, fact.identity):
        return fact
    return None if bore_before(fact.identity, who) else ProcessFact(Liveness.DEAD)


def with_tmux_socket(claim: Claim, pid: int, tmux_socket: str) -> Claim:
    """Add which tmux server the owner runs under, if `pid` is the owner; a session found elsewhere is another."""
    if claim.record.pid != pid or claim.tmux_socket:
        return claim
    if claim.pin is not None and claim.pin.socket != tmux_socket:
        claim = replace(claim, pin=None, pane=None)
    return replace(claim, tmux_socket=tmux_socket)


def may_be_live(claim: Claim) -> bool:
    """Say whether a claim is live or cannot be judged yet: either way it is not to be forgotten."""
    return not claim.settled or verdict_of(claim) in LIVE | {Verdict.UNVERIFIABLE}


def named_pids(claim: Claim) -> set[int]:
    """List the pids whose end would change a claim."""
    pids = {claim.record.pid} if claim.process is not Liveness.DEAD and claim.record.pid > 0 else set()
    if claim.agent_identity is not None and claim.agent is not Liveness.DEAD:
        pids.add(claim.agent_identity.pid)
    return pids
