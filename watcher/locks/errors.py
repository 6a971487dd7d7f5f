"""What can be wrong with a lock, as exceptions that carry the facts."""

from rules.model import LockRecord, Verdict


class LockError(Exception):
    """A lock is not as the caller needs it.

    `reason` is one short clause, `path` the lock file (empty where only bytes were at hand), `record` what the
    file said and `verdict` what that adds up to, each None where it is not known.
    """

    def __init__(
        self, reason: str, *, path: str = "", record: LockRecord | None = None, verdict: Verdict | None = None
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.path = path
        self.record = record
        self.verdict = verdict

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}" if self.path else self.reason


class InvalidLockError(LockError, ValueError):
    """The file cannot be read as a lock."""


class LockedError(LockError):
    """Somebody else holds the lock."""


class NotLockedError(LockError):
    """There is no lock."""
