"""What must outlive a restart: live claims, firing alerts, and who is watching.

After a kill at any moment the log must stay true: no alert is lost, none that was firing fires as new, and
none is left firing in the log that has ended. So each step of an alert is stored *before* its line is
written. To be stored here means one `write` of some hundred bytes at the end of a file, some microseconds: that
outlives us, since the kernel has it, and only a power cut needs the fsync which a thread does a moment later.

The daemon's part, for each batch:

1. `intend(transitions)`; write the lines that it gives back, which may be more than it was given;
2. `keep(workers)`: the claims that changed. It also says that the lines of all that was intended are handed to
   the journal; once that has drained they are known to be written.

A run that follows a kill knows, and says in the log:

===================================  ==========================================================================
killed                               the log, then the next run
===================================  ==========================================================================
before `intend`                      no line; what holds is found anew: `alert.firing`, `initial`
between `intend` and the line        firing: `alert.firing` with `restored`, as if it had been written, and if it
                                     has ended meanwhile its `alert.resolved` after that; resolved: that line
between the line and its mark        the same, for it looks the same: firing: `restored`; resolved: **the line comes
                                     a second time**, the same in `episode`, `starts_at` and `ends_at`
both lines of an alert unmarked      both, `restored` and resolved, in this order
after the mark                       firing: `restored` where it holds, resolved where not; resolved: nothing
===================================  ==========================================================================

The mark follows the line within microseconds where the journal writes at once, else as soon as it has drained;
while a reader is stuck, what it was not given counts as not written. So in any log: each run says at most once
that an episode fires, later ones with `restored`; a resolution is never missing, and whoever counts them
takes the second of one episode for the first. Where one file is all the log there is, its end is read back at
the start (`LogTail`), and then no line comes a second time. After a power cut all this holds but for the last
moments, which the log may have lost as well.
"""

from watcher.state.entries import StoredWorker, schema
from watcher.state.forgetful import NoStore
from watcher.state.log_tail import LogTail
from watcher.state.place import boot_id, state_directory
from watcher.state.store import Loaded, StateStore
from watcher.state.vitals import Vitals
from watcher.state.watch_lock import Running

__all__ = [
    "Loaded",
    "LogTail",
    "NoStore",
    "Running",
    "StateStore",
    "StoredWorker",
    "Vitals",
    "boot_id",
    "schema",
    "state_directory",
]
