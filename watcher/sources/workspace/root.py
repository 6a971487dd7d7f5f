"""The directory that is watched: whether it is there, and whether it is still the same one."""

import os
import stat
from enum import Enum, auto

from watcher.sources.workspace.crawl import GONE


class Whereabouts(Enum):
    """What a look at the root's path gave. `OUT_OF_REACH`: it may be there, nothing says that it is gone."""

    THERE = auto()
    OUT_OF_REACH = auto()
    GONE = auto()
    REPLACED = auto()


class Root:
    """The path of a root, with symbolic links resolved once, and the directory that was found there.

    `device` is that directory's.
    """

    def __init__(self, path: str) -> None:
        self.path = os.path.realpath(path)
        self.device = 0
        self._inode = 0

    def require(self) -> None:
        """Refuse a root that cannot be watched.

        Raises:
            OSError: it is missing, no directory, or not readable.
        """
        os.scandir(self.path).close()

    def find(self) -> bool:
        """Take the directory at the path for the root from now on; say whether there is one."""
        try:
            status = os.lstat(self.path)
        except OSError:
            return False
        self.device, self._inode = status.st_dev, status.st_ino
        return stat.S_ISDIR(status.st_mode)

    def look(self) -> Whereabouts:
        """Say what became of it. An inode number may have been given again: a watch knows better."""
        try:
            status = os.lstat(self.path)
        except OSError as error:
            return Whereabouts.GONE if error.errno in GONE else Whereabouts.OUT_OF_REACH
        same = (status.st_dev, status.st_ino) == (self.device, self._inode)
        return Whereabouts.THERE if same else Whereabouts.REPLACED
