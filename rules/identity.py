"""Who is who: is this pid the process that took the lock, is this host ours, are two claims one owner's."""

from dataclasses import dataclass

from rules.model import Claim, Liveness, LockRecord, ProcessFact, ProcessIdentity, SessionState

RECYCLED_AFTER = 2.0
"""Seconds by which a process may seem younger than the lock it took: both clocks are read with errors of up
to a second (procfs counts boot time in whole seconds), and a lock's writer may round."""


@dataclass(frozen=True, slots=True)
class Host:
    """The host we run on: its name, and the other names under which its locks may be signed."""

    name: str
    aliases: tuple[str, ...] = ()

    def is_here(self, hostname: str) -> bool:
        """Say whether a lock signed `hostname` was taken on this host; an unsigned one was.

        Names are compared without case and by their first label: writers differ on whether they store the
        domain too.
        """
        return not hostname or _label(hostname) in {_label(name) for name in (self.name, *self.aliases)}

    def same(self, one: str, two: str) -> bool:
        """Say whether locks signed `one` and `two` were taken on one host, be it this one or another."""
        return (self.is_here(one) and self.is_here(two)) or _label(one) == _label(two)


def _label(hostname: str) -> str:
    return hostname.partition(".")[0].casefold()


def started_too_late(started_at: float | None, record: LockRecord) -> bool:
    """Say whether something that started at `started_at` (epoch seconds) came after the lock was taken.

    Then it only bears the same number. Not judged, so False, where either time is unknown.
    """
    if started_at is None or record.acquired_at is None:
        return False
    return started_at > record.acquired_at.timestamp() + RECYCLED_AFTER


def same_process(one: ProcessIdentity, two: ProcessIdentity) -> bool:
    """Say whether two identities are of one process, as far as is known: what only one of them tells says nothing."""
    if one.pid != two.pid:
        return False
    if one.inode and two.inode:
        return one.inode == two.inode
    return not (one.start and two.start) or one.start == two.start


def bore_before(one: ProcessIdentity, two: ProcessIdentity) -> bool:
    """Say whether `one` is known to have borne a pid before `two`, so that its end is nothing to `two`."""
    return not same_process(one, two) and 0 < one.start < two.start


def process_state(record: LockRecord, fact: ProcessFact | None, host: Host) -> Liveness:
    """Say whether the process that a lock records is there.

    `fact` is what a probe of the pid gave, None where it was not probed. A pid of another host is never
    judged by ours; no pid at all names no process; a process that started after the lock is a stranger.
    """
    if not host.is_here(record.hostname):
        return Liveness.UNKNOWN
    if record.pid <= 0:
        return Liveness.DEAD
    if fact is None:
        return Liveness.UNKNOWN
    if fact.state is Liveness.ALIVE and started_too_late(fact.started_at, record):
        return Liveness.DEAD
    return fact.state


def same_owner(one: Claim, two: Claim, host: Host) -> bool:
    """Say whether two claims on one worker are one owner's, so that the later one only refreshes the earlier.

    One owner: the same pane; the same process; or, unless both recorded processes are alive and differ, the same
    session, or the same agent behind two short-lived writers. A descriptive session id ("rig/name") that no
    server knows names the worker, not its owner, and proves nothing. Nobody is the same on two hosts.
    """
    if not host.same(one.record.hostname, two.record.hostname):
        return False
    if _same_pane(one, two) or _same_process(one, two):
        return True
    both_alive = one.process is Liveness.ALIVE and two.process is Liveness.ALIVE
    differ = both_alive and one.record.pid != two.record.pid
    return not differ and (_same_agent(one, two) or _same_session(one, two))


def _same_pane(one: Claim, two: Claim) -> bool:
    if one.pane is not None and two.pane is not None:
        return one.pane == two.pane
    # While nobody can say which pane a number means, two equal numbers are taken for one: not to accuse an owner.
    unknown = SessionState.UNKNOWN in {one.session, two.session}
    return unknown and one.record.session_id == two.record.session_id and one.record.session_id.startswith("%")


def _same_agent(one: Claim, two: Claim) -> bool:
    if one.agent_identity is None or two.agent_identity is None:
        return False
    return same_process(one.agent_identity, two.agent_identity)


def _same_session(one: Claim, two: Claim) -> bool:
    # What an id came down to tells more than the id: names and numbers come back.
    first, second = one.pin or one.former, two.pin or two.former
    if first is not None and type(first) is type(second):
        return first == second
    return one.record.session_id == two.record.session_id != "" and not one.descriptive


def _same_process(one: Claim, two: Claim) -> bool:
    if one.record.pid <= 0 or one.record.pid != two.record.pid:
        return False
    if one.identity is not None and two.identity is not None:
        return same_process(one.identity, two.identity)
    # Without both identities a number is all there is; a dead and a living bearer are not one process.
    return one.process == two.process
