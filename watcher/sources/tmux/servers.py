"""Which tmux servers a user has: by the socket directory, by /proc/net/unix, and by the process table.

Nothing here runs tmux. Who listens on a socket is what the kernel says (SO_PEERCRED, unix(7)): it proves that the
file is no leftover, which process answers there, and whose it is. A server process that no socket leads to is
there all the same: its socket was deleted, or is in another mount namespace. So it makes the answer incomplete.
"""

import errno
import os
import socket
import stat
import struct
import sys
import time
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from watcher.sources.tmux.processes import ServerProcess, listening_sockets, server_processes
from watcher.sources.tmux.server import Server, TmuxOptions, reason_of


@dataclass(slots=True)
class Census:
    """The tmux servers of one user.

    `servers` can be asked, by socket. `beyond` says by path why there may be others that cannot. So does `suspected`,
    but that may only be a server that begins or ends: it is there before it has its socket, and after. `foreign` are
    sockets on which somebody else listens.
    """

    servers: dict[str, Server] = field(default_factory=dict)
    beyond: dict[str, str] = field(default_factory=dict)
    suspected: list[str] = field(default_factory=list)
    foreign: set[str] = field(default_factory=set)

    @property
    def incomplete(self) -> str:
        """Why there may be servers that cannot be asked; empty where there are none."""
        return next(iter([*self.beyond.values(), *self.suspected]), "")


_NOBODY = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ECONNREFUSED, errno.EPROTOTYPE})
_MOST_SOCKETS = 4096
_PATIENCE = (0.002, 0.004, 0.008, 0.016, 0.032, 0.064)
_CREDENTIALS = struct.Struct("3i")
_DARWIN_PEER_PID = (0, 2)  # SOL_LOCAL, LOCAL_PEERPID of unix(4)


def socket_directories(uid: int) -> list[Path]:
    """Where tmux puts the sockets of `uid`; `TMUX_TMPDIR` is ours, so it counts for our own user only."""
    bases = ["/tmp"]  # noqa: S108 - tmux's own default; the directory's owner is checked before use
    ours = os.environ.get("TMUX_TMPDIR")
    if ours and uid == os.geteuid():
        bases.insert(0, ours)
    return [Path(base, f"tmux-{uid}") for base in dict.fromkeys(map(os.path.realpath, bases))]


def named_sockets(options: TmuxOptions, uid: int) -> list[str]:
    """The sockets that the options name for `uid`, as absolute paths; none where they name none."""
    names = (str(directory / name) for name in options.socket_names for directory in socket_directories(uid))
    return list(dict.fromkeys([*(str(Path(path).absolute()) for path in options.sockets), *names]))


class ServerSearch:
    """Finds the tmux servers of users, again and again."""

    def __init__(self, options: TmuxOptions) -> None:
        """Search where `options` say."""
        self._options = options
        self._settled: frozenset[str] = frozenset()

    def census(self, uids: Iterable[int]) -> dict[int, Census]:
        """Find the tmux servers of each of `uids`, as of now. Not for the loop: it reads files, connects, and waits.

        It waits up to 0.13 s where a server seems to begin or to end; for one that stays so, only once.
        """
        wanted = frozenset(uids)
        censuses = self._look(wanted)
        for pause in _PATIENCE:
            if _suspected(censuses) <= self._settled:
                break
            time.sleep(pause)
            censuses = self._look(wanted)
        self._settled = _suspected(censuses)
        return censuses

    def _look(self, uids: frozenset[int]) -> dict[int, Census]:
        if not hasattr(socket, "AF_UNIX"):
            return {uid: Census() for uid in uids}
        listening = listening_sockets()
        if self._options.sockets or self._options.socket_names:
            return {uid: _named(named_sockets(self._options, uid), listening) for uid in uids}
        processes: dict[int, list[ServerProcess]] = {uid: [] for uid in uids}
        try:
            for process in server_processes():
                processes.setdefault(process.uid, []).append(process)
        except OSError as error:
            return {
                uid: Census(beyond={"/proc": f"the process table cannot be read: {reason_of(error)}"}) for uid in uids
            }
        return {uid: _searched(uid, processes[uid], listening) for uid in uids}


def _suspected(censuses: Mapping[int, Census]) -> frozenset[str]:
    return frozenset(reason for census in censuses.values() for reason in census.suspected)


def _named(paths: list[str], listening: Mapping[int, str]) -> Census:
    """Ask only these; whose they are does not matter, since the operator named them."""
    census = Census()
    bound = set(listening.values())
    for path in dict.fromkeys([*paths, *map(os.path.realpath, paths)]):
        _probe(census, path, None)
    _suspect(census, bound & set(paths))
    _keep_each_once(census, bound)
    return census


def _searched(uid: int, processes: list[ServerProcess], listening: Mapping[int, str]) -> Census:
    census = Census()
    bound = set(listening.values())
    likely = sorted(path for path in bound if path.rsplit("/", 2)[-2] == f"tmux-{uid}")
    for path in dict.fromkeys([*_sockets_of(census, uid), *likely]):
        _probe(census, path, uid)
    for process in _unaccounted(census, processes):
        for path in process.listening_on(listening):
            _probe(census, path, uid)
    directories = {str(directory) for directory in socket_directories(uid)}
    _suspect(census, [path for path in likely if path.rpartition("/")[0] in directories])
    census.suspected += [
        f"the tmux server with pid {process.pid} has no socket that can be reached (deleted, or in another namespace)"
        for process in _unaccounted(census, processes)
    ]
    _keep_each_once(census, bound)
    return census


def _unaccounted(census: Census, processes: list[ServerProcess]) -> list[ServerProcess]:
    known = {server.pid for server in census.servers.values()}
    return [process for process in processes if process.pid not in known]


def _suspect(census: Census, paths: Iterable[str]) -> None:
    """Suspect a server behind each path that is listened on somewhere, but not where we can get at it."""
    census.suspected += [
        f"the tmux server on {path} cannot be reached (its socket was deleted, or is in another namespace)"
        for path in sorted(paths)
        if path not in census.servers and path not in census.beyond and path not in census.foreign
    ]


def _keep_each_once(census: Census, bound: Container[str]) -> None:
    """Where several paths lead to one server, keep the one that it bound: that is what `TMUX` names in its panes."""
    by_pid: dict[int, Server] = {}
    for path, server in list(census.servers.items()):
        other = by_pid.setdefault(server.pid, server) if server.pid > 0 else server
        if other is not server:
            lesser = other if path in bound else server
            by_pid[server.pid] = server if lesser is other else other
            del census.servers[lesser.socket]


def _sockets_of(census: Census, uid: int) -> list[str]:
    """List what is in the socket directories of `uid`."""
    found: list[str] = []
    for directory in socket_directories(uid):
        try:
            found += _sockets_in(directory, uid)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            census.beyond[str(directory)] = (
                f"{directory} may hold tmux servers that cannot be asked: {reason_of(error)}"
            )
    if len(found) > _MOST_SOCKETS:
        census.beyond[""] = f"user {uid} has more than {_MOST_SOCKETS} tmux sockets: remove those that no server has"
    return found[:_MOST_SOCKETS]


def _sockets_in(directory: Path, uid: int) -> Iterator[str]:
    """Walk the sockets in `directory`; none where it is not the user's own: tmux refuses such a directory too."""
    status = directory.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != uid:
        return
    with os.scandir(directory) as entries:
        for entry in entries:
            if stat.S_ISSOCK(entry.stat(follow_symlinks=False).st_mode):
                yield entry.path


def _probe(census: Census, path: str, uid: int | None) -> None:
    """Put the server that listens on `path` into the census, if it is that of `uid` (None: of any user)."""
    try:
        server = _listener(path)
    except OSError as error:
        census.beyond[path] = f"{path} cannot be asked for tmux sessions: {reason_of(error)}"
        return
    if server is None:
        return
    if uid not in (None, server.uid):
        census.foreign.add(path)
    elif uid is not None and os.geteuid() not in (0, uid):
        # A tmux server may make its client run commands: only the operator can say that another's is trusted.
        census.beyond[path] = f"{path} is another user's: name it with --tmux-socket if you trust it"
    else:
        census.servers[path] = server


def _listener(path: str) -> Server | None:
    """Say who listens on `path`; None where nobody does. Raises OSError where that cannot be told."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(0)
        try:
            probe.connect(path)
        except BlockingIOError as error:
            raise OSError(error.errno, "its queue of connections is full") from error
        except OSError as error:
            if error.errno in _NOBODY:
                return None
            raise
        if hasattr(socket, "SO_PEERCRED"):
            credentials = probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
            return Server(path, *_CREDENTIALS.unpack(credentials))
        pid = probe.getsockopt(*_DARWIN_PEER_PID) if sys.platform == "darwin" else 0
        status = Path(path).stat()
        return Server(path, pid, status.st_uid, status.st_gid)
