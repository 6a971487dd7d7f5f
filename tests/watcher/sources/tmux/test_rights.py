import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from rules.model import Moment
from watcher.events import Sessions, SessionsSeen
from watcher.sources.tmux.look import look
from watcher.sources.tmux.server import TmuxOptions, client_environment

if TYPE_CHECKING:
    import pytest

    from tests.watcher.sources.tmux.conftest import TmuxServer

MakeServer = Callable[..., "TmuxServer"]


def test_root_asks_a_users_server_with_that_users_rights(
    tmux_server: MakeServer, directory: Path, stranger: int, clock: Callable[[], Moment]
) -> None:
    """A tmux server can have its client write files and run commands: never as root, where the server is not root's."""
    os.chown(directory, stranger, stranger)
    server = tmux_server("s", stranger)
    server.start()
    spy = directory / "spy"
    spy.write_text(f'#!/bin/sh\n(id -u; id -g; id -G) > {directory}/rights\nexec tmux "$@"\n')
    spy.chmod(0o755)
    seen = look(TmuxOptions(sockets=(server.socket,), timeout=20, binary=str(spy)), [stranger], clock)
    assert any(isinstance(event, SessionsSeen) and isinstance(event.answer, Sessions) for event in seen)
    assert (directory / "rights").read_text().split() == [str(stranger)] * 3


def test_a_server_is_handed_no_secrets(monkeypatch: "pytest.MonkeyPatch") -> None:
    """A tmux client sends its whole environment to the server: ours is not for every user's."""
    monkeypatch.setenv("LOCKWARDEN_TOKEN", "secret")
    monkeypatch.setenv("TMUX", "/somewhere/else,1,0")
    environment = client_environment()
    assert "PATH" in environment
    assert not {"LOCKWARDEN_TOKEN", "TMUX", "TMUX_PANE"} & environment.keys()
