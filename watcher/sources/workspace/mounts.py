"""What the mount table says about the file systems of a workspace."""

import os
import re
from dataclasses import dataclass, field

MOUNTINFO = "/proc/self/mountinfo"

_COUNTS_SUBDIRECTORIES = frozenset({"ext2", "ext3", "ext4", "xfs", "tmpfs"})
"""Types whose directories have a link for each subdirectory, so that one with two links has none (the leaf
optimisation of find(1)). Left out are those where that is not kept up (btrfs, overlay) or not known."""

_SILENT = frozenset(
    {
        "9p",
        "afs",
        "beegfs",
        "ceph",
        "cifs",
        "coda",
        "gfs2",
        "gpfs",
        "lustre",
        "ncpfs",
        "nfs",
        "nfs4",
        "ocfs2",
        "orangefs",
        "overlay",
        "prl_fs",
        "smb3",
        "smbfs",
        "vboxsf",
        "virtiofs",
    }
)
"""Types that change without a notification here: the writer is another host, or a layer below."""

_ESCAPE = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Mounts:
    """The mount table, as far as a walk needs it. Devices are `st_dev` numbers.

    `points` are (mount id, mount point, type). `leafy` are the devices whose directories count their
    subdirectories in `st_nlink`, `silent` those that change without a notification, with their type.
    """

    points: frozenset[tuple[int, str, str]] = frozenset()
    leafy: frozenset[int] = frozenset()
    silent: dict[int, str] = field(default_factory=dict)

    def changed_since(self, before: "Mounts") -> frozenset[str]:
        """The mount points at which something was mounted or unmounted."""
        return frozenset(point for _, point, _ in self.points ^ before.points)

    def silent_below(self, root: str, device: int) -> tuple[str, ...]:
        """The types of the silent file systems mounted below `root`, and of its own (on `device`), sorted."""
        below = root.rstrip(os.sep) + os.sep
        kinds = {kind for _, point, kind in self.points if is_silent(kind) and point.startswith(below)}
        if device in self.silent:
            kinds.add(self.silent[device])
        return tuple(sorted(kinds))


def is_silent(kind: str) -> bool:
    """Say whether a file system of type `kind` changes without a notification here.

    A block device behind FUSE (`fuseblk`) is written by this host alone.
    """
    return kind in _SILENT or kind == "fuse" or kind.startswith("fuse.")


def read_mounts(source: str = MOUNTINFO) -> Mounts:
    """Read the mount table of this process (proc_pid_mountinfo(5)); empty where there is none to read."""
    try:
        with open(source, encoding="utf-8", errors="surrogateescape") as table:  # noqa: PTH123 - a path is made for nothing
            lines = table.readlines()
    except OSError:
        return Mounts()
    points, leafy, silent = set(), set(), {}
    for line in lines:
        fields = line.split(" ")
        identity, device, point = fields[0], fields[2], fields[4]
        kind = fields[fields.index("-", 6) + 1]
        major, minor = device.split(":")
        number = os.makedev(int(major), int(minor))
        points.add((int(identity), _ESCAPE.sub(lambda match: chr(int(match[1], 8)), point), kind))
        if kind in _COUNTS_SUBDIRECTORIES:
            leafy.add(number)
        elif is_silent(kind):
            silent[number] = kind
    return Mounts(frozenset(points), frozenset(leafy), silent)
