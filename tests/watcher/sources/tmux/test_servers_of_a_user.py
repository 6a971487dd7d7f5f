import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from watcher.sources.tmux.server import TmuxOptions
from watcher.sources.tmux.servers import Census, ServerSearch

if TYPE_CHECKING:
    from tests.watcher.sources.tmux.conftest import TmuxServer

MakeServer = Callable[..., "TmuxServer"]
AsUser = Callable[[int, Callable[[], object]], Any]
Until = Callable[[Callable[[], object]], object]

forks = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


def census(uid: int, options: TmuxOptions | None = None) -> Census:
    """Look once which servers a user has."""
    return ServerSearch(options or TmuxOptions()).census([uid])[uid]


@pytest.fixture
def socket_directory(stranger: int) -> Path:
    """The stranger's socket directory, as tmux makes it."""
    directory = Path(f"/tmp/tmux-{stranger}")
    directory.mkdir(mode=0o700)
    os.chown(directory, stranger, stranger)
    return directory


@pytest.fixture
def listener() -> Iterator[Callable[[Path], socket.socket]]:
    """Listen on a socket of our own, as something that is no tmux."""
    sockets: list[socket.socket] = []

    def listen(path: Path) -> socket.socket:
        sockets.append(socket.socket(socket.AF_UNIX))
        sockets[-1].bind(str(path))
        sockets[-1].listen()
        return sockets[-1]

    yield listen
    for listening in sockets:
        listening.close()


def test_a_user_without_tmux_has_no_servers(stranger: int) -> None:
    """No directory, no process: there are none, and that is certain."""
    assert census(stranger) == Census()


def test_the_servers_in_the_socket_directory_are_found(
    tmux_server: MakeServer, stranger: int, socket_directory: Path
) -> None:
    """Each living socket there is a server, with the pid and the user that the kernel vouches for."""
    servers = [tmux_server(socket_directory / name, stranger) for name in ("default", "town")]
    for server in servers:
        server.start()
    found = census(stranger)
    assert not found.incomplete
    assert {(path, s.pid, s.uid, s.gid) for path, s in found.servers.items()} == {
        (server.socket, server.pid, stranger, stranger) for server in servers
    }


def test_a_server_on_a_socket_elsewhere_is_found(tmux_server: MakeServer, directory: Path, stranger: int) -> None:
    """`tmux -S PATH` may be anywhere: the process table knows the server, and its descriptors know the socket."""
    os.chown(directory, stranger, stranger)
    server = tmux_server("s", stranger)
    server.start()
    found = census(stranger)
    assert not found.incomplete
    assert set(found.servers) == {server.socket}


def test_the_socket_that_a_dead_server_left_is_no_server(
    tmux_server: MakeServer, stranger: int, socket_directory: Path
) -> None:
    """A server that was killed leaves its socket behind, and nobody listens there."""
    server = tmux_server(socket_directory / "default", stranger)
    server.start()
    os.kill(server.pid, signal.SIGKILL)
    server.kill()
    assert (socket_directory / "default").is_socket()
    assert census(stranger) == Census()


def test_a_server_whose_socket_was_deleted_is_there_but_cannot_be_asked(
    tmux_server: MakeServer, stranger: int, socket_directory: Path
) -> None:
    """It holds its sessions still: that nobody can ask it proves nothing about them. Once it ends, it is gone."""
    server = tmux_server(socket_directory / "default", stranger)
    server.start()
    pid = server.pid
    Path(server.socket).unlink()
    found = census(stranger)
    assert not found.servers
    assert "cannot be reached" in found.incomplete
    os.kill(pid, signal.SIGTERM)
    server.kill()
    assert census(stranger) == Census()


def test_a_named_socket_that_was_deleted_under_its_server_cannot_be_asked(tmux_server: MakeServer) -> None:
    """Also where only a named socket is asked: /proc/net/unix says that somebody still listens."""
    server = tmux_server()
    server.start()
    Path(server.socket).rename(server.socket + ".moved")
    options = TmuxOptions(sockets=(server.socket,))
    assert "cannot be reached" in census(os.geteuid(), options).incomplete
    Path(server.socket + ".moved").rename(server.socket)
    assert set(census(os.geteuid(), options).servers) == {server.socket}


def test_a_server_in_another_mount_namespace_cannot_be_asked(
    tmux_server: MakeServer, directory: Path, stranger: int
) -> None:
    """Its process is to be seen, and its socket is not: its sessions are unknown, not gone."""
    unshare = shutil.which("unshare")
    if unshare is None or subprocess.run([unshare, "--mount", "true"], check=False, capture_output=True).returncode:
        pytest.skip("needs mount namespaces")
    hidden = directory / "hidden"
    hidden.mkdir()
    socket_path = hidden / "s"
    server = tmux_server(socket_path, stranger)
    mounted = (
        f"mount -t tmpfs -o mode=777 none {hidden} && exec setpriv --reuid {stranger} --regid {stranger} --clear-groups"
    )
    start = f"tmux -f /dev/null -S {socket_path} new-session -d 'exec sleep 1000' ';' display-message -p '#{{pid}}'"
    pid = subprocess.run(
        [unshare, "--mount", "sh", "-c", f"{mounted} {start}"], check=True, capture_output=True, text=True, cwd="/"
    ).stdout
    server._pids.add(int(pid))
    try:
        found = census(stranger)
    finally:
        os.kill(int(pid), signal.SIGTERM)
    assert not found.servers
    assert found.incomplete.startswith(f"the tmux server with pid {int(pid)} has no socket that can be reached")


@forks
def test_a_directory_that_may_not_be_read_hides_servers(as_user: AsUser, stranger: int, socket_directory: Path) -> None:
    """Another user's sockets cannot be listed: whether they have servers is unknown."""
    found = as_user(stranger + 1, lambda: census(stranger))
    assert found.incomplete == f"{socket_directory} may hold tmux servers that cannot be asked: permission denied"


@forks
def test_another_users_server_is_not_asked_unless_it_is_named(
    as_user: AsUser, tmux_server: MakeServer, stranger: int, socket_directory: Path
) -> None:
    """A server may have its client run commands, so only the operator can say that another user's is trusted."""
    server = tmux_server(socket_directory / "default", stranger)
    server.start()
    socket_directory.chmod(0o755)
    Path(server.socket).chmod(0o777)
    found = as_user(stranger + 1, lambda: census(stranger))
    assert not found.servers
    assert found.incomplete == f"{server.socket} is another user's: name it with --tmux-socket if you trust it"
    named = as_user(stranger + 1, lambda: census(stranger, TmuxOptions(sockets=(server.socket,))))
    assert set(named.servers) == {server.socket}


def test_a_directory_of_somebody_else_is_not_the_users(
    stranger: int, listener: Callable[[Path], socket.socket]
) -> None:
    """Anybody may make /tmp/tmux-UID first; tmux refuses it, so what is in it is nobody's tmux, and is not asked."""
    directory = Path(f"/tmp/tmux-{stranger}")
    directory.mkdir()
    listener(directory / "default")
    assert census(stranger) == Census(foreign={str(directory / "default")})


def test_what_somebody_else_listens_on_is_not_the_users(
    stranger: int, socket_directory: Path, listener: Callable[[Path], socket.socket]
) -> None:
    """The kernel says who listens; a name in a directory does not."""
    listener(socket_directory / "default")
    assert not census(stranger).servers
    assert not census(stranger).incomplete


def test_names_are_looked_up_where_tmux_puts_them(
    tmux_server: MakeServer, stranger: int, socket_directory: Path
) -> None:
    """`--tmux-socket-name town` is `tmux -L town` of the user in question, and no other server of theirs is asked."""
    servers = [tmux_server(socket_directory / name, stranger) for name in ("default", "town")]
    for server in servers:
        server.start()
    found = census(stranger, TmuxOptions(socket_names=("town",)))
    assert set(found.servers) == {str(socket_directory / "town")}
    assert not found.incomplete


def test_tmux_tmpdir_is_ours_alone(
    tmux_server: MakeServer, directory: Path, monkeypatch: pytest.MonkeyPatch, stranger: int
) -> None:
    """Our own servers may be below `TMUX_TMPDIR`; it says nothing of where another user's are."""
    ours = directory / f"tmux-{os.geteuid()}"
    ours.mkdir(mode=0o700)
    server = tmux_server(ours / "town")
    server.start()
    monkeypatch.setenv("TMUX_TMPDIR", str(directory))
    found = census(os.geteuid(), TmuxOptions(socket_names=("town",)))
    assert set(found.servers) == {server.socket}
    assert not census(stranger, TmuxOptions(socket_names=("town",))).servers


def test_one_server_by_two_paths_is_one_server(tmux_server: MakeServer, directory: Path) -> None:
    """A link leads to the same server twice; it is known by the path that it bound, which `TMUX` names in its panes."""
    server = tmux_server("real")
    server.start()
    (directory / "link").symlink_to(directory)
    found = census(os.geteuid(), TmuxOptions(sockets=(str(directory / "link" / "real"), server.socket)))
    assert set(found.servers) == {server.socket}
    found = census(os.geteuid(), TmuxOptions(sockets=(str(directory / "link" / "real"),)))
    assert set(found.servers) == {server.socket}


def test_a_queue_that_is_full_is_a_server_that_cannot_be_asked(
    directory: Path, listener: Callable[[Path], socket.socket]
) -> None:
    """A server that has hung for long accepts no more connections; it is there all the same."""
    listener(directory / "s").listen(0)
    callers = [socket.socket(socket.AF_UNIX) for _ in range(4)]
    for caller in callers:
        caller.settimeout(0)
        caller.connect_ex(str(directory / "s"))
    found = census(os.geteuid(), TmuxOptions(sockets=(str(directory / "s"),)))
    for caller in callers:
        caller.close()
    assert "its queue of connections is full" in found.incomplete
