"""Who is behind a short-lived writer: the first of its ancestors that is not just something to run things in.

Read while the writer is still there. A parent started no later than its child, so a pid that was recycled
between two looks gives itself away by its start; the writer may die meanwhile.
"""

from dataclasses import dataclass

from watcher.sources.processes import proctable
from watcher.sources.processes.sighting import Sighting

_DEPTH = 64

SHELLS = frozenset(
    {
        *("sh", "ash", "bash", "dash", "rbash", "ksh", "ksh93", "mksh", "yash", "zsh", "csh", "tcsh", "fish"),
        *("nu", "elvish", "pwsh", "busybox", "toybox"),
    }
)
"""Command interpreters, by the program file: a script that is run by name bears its own."""

RUNNERS = frozenset(
    {
        *("env", "login", "su", "sudo", "doas", "runuser", "timeout", "time", "nice", "nohup", "setsid", "stdbuf"),
        *("script", "xargs", "flock", "strace", "bwrap", "firejail"),
    }
)
"""Programs that run one other and wait for it."""

ROOTS = frozenset(
    {
        *("init", "systemd", "launchd", "tini", "dumb-init", "docker-init", "catatonit", "containerd-shim", "conmon"),
        *("sshd", "sshd-session", "cron", "crond", "screen", "SCREEN", "zellij"),
    }
)
"""Where ancestries end: init and its like, and what keeps sessions. No agent is above them."""


@dataclass(frozen=True, slots=True)
class Anchor:
    """The process behind a writer, told from another bearer of its pid by its start (see `Row`)."""

    pid: int
    start: int

    def is_at(self, sighting: Sighting) -> bool:
        """Say whether a look at the pid met this very process."""
        return sighting.identity is not None and sighting.identity.start == self.start


def find_anchor(writer: Sighting) -> Anchor | None:
    """Find the agent behind a process; None where there is none, or it cannot be told from a shell.

    A zombie still has its parent. Raises OSError where the process table could not be read.
    """
    if writer.identity is None or not writer.identity.start:
        return None
    pid, child_start = writer.parent, writer.identity.start
    for _ in range(_DEPTH):
        row = proctable.read_row(pid) if pid > 1 else None
        if row is None or row.start > child_start or row.name in ROOTS or row.name.startswith("tmux"):
            return None
        if row.name not in SHELLS and row.name not in RUNNERS:
            program = proctable.executable(pid)
            if not program:
                return None
            if program not in SHELLS and program not in RUNNERS:
                return Anchor(pid, row.start)
        pid, child_start = row.parent, row.start
    return None
