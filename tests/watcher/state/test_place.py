import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from rules.model import Verdict
from watcher.errors import JobError
from watcher.state import Running, StateStore, Vitals, boot_id, state_directory
from watcher.state.place import Place, workspace_key

HERE = str(Path.cwd())


@pytest.mark.parametrize(
    ("configured", "environ", "directory"),
    [
        ("/srv/state", {"STATE_DIRECTORY": "/var/lib/lw", "XDG_STATE_HOME": "/x", "HOME": "/h"}, "/srv/state"),
        ("state/../s", {}, f"{HERE}/s"),
        ("", {"STATE_DIRECTORY": "/var/lib/lw", "XDG_STATE_HOME": "/x", "HOME": "/h"}, "/var/lib/lw"),
        ("", {"STATE_DIRECTORY": "/var/lib/one:/var/lib/two"}, "/var/lib/one"),
        ("", {"STATE_DIRECTORY": "", "XDG_STATE_HOME": "/x", "HOME": "/h"}, "/x/lockwarden"),
        ("", {"XDG_STATE_HOME": "relative", "HOME": "/h"}, "/h/.local/state/lockwarden"),
        ("", {"HOME": "/h"}, "/h/.local/state/lockwarden"),
    ],
)
def test_where_the_state_lies(configured: str, environ: dict[str, str], directory: str) -> None:
    """The setting wins, then systemd's directory, then XDG's, then the home directory."""
    assert state_directory(configured, environ) == directory


def test_boot_id() -> None:
    """One boot has one name, whoever asks."""
    code = "from watcher.state import boot_id; print(boot_id())"
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert boot_id() == there
    assert re.fullmatch(r"[0-9a-f-]{36}", there) or sys.platform != "linux"


def test_a_workspace_has_one_directory_under_any_of_its_names(home: Path) -> None:
    """A link to a workspace is the same workspace; another of the same name is another."""
    one, two = home / "a" / "town", home / "b" / "town"
    one.mkdir(parents=True)
    two.mkdir(parents=True)
    link = home / "link"
    link.symlink_to(one)
    assert workspace_key(str(one)) == workspace_key(str(link)) == workspace_key(f"{one}/")
    assert workspace_key(str(one)) != workspace_key(str(two))
    assert workspace_key(str(one)).startswith("town-")


@pytest.mark.parametrize("name", ["caf\udce9", "x" * 255, "..a b/\n\x1b[2J", "/", "-rf"])
def test_any_workspace_has_a_name_that_can_be_typed(name: str) -> None:
    """What a workspace is called reaches neither a terminal nor an option parser."""
    assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,39}-[0-9a-f]{16}", workspace_key(f"/srv/{name}"))


def test_modes(home: Path, workspace: Path) -> None:
    """What is known of the agents is for their user's eyes: 0700 and 0600, whatever the umask."""
    before = os.umask(0)
    try:
        with_state(home, workspace).close()
    finally:
        os.umask(before)
    place = next((home / "state").iterdir())
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in place.iterdir()} == {0o600}


def test_a_directory_that_others_may_read_is_closed(home: Path, workspace: Path) -> None:
    """A directory of ours that was opened to others is taken back."""
    place = home / "state" / workspace_key(str(workspace))
    place.mkdir(parents=True)
    place.chmod(0o777)
    Place.create(str(home / "state"), str(workspace)).close()
    assert stat.S_IMODE(place.stat().st_mode) == 0o700


def test_a_link_in_the_place_of_the_directory(home: Path, workspace: Path) -> None:
    """A planted link leads nowhere: that is an error with a way out."""
    target = home / "elsewhere"
    target.mkdir()
    place = home / "state" / workspace_key(str(workspace))
    place.parent.mkdir()
    place.symlink_to(target)
    with pytest.raises(JobError, match=r"^state: cannot use .*: not a directory: name another place with --state-dir"):
        StateStore(str(home / "state"), str(workspace))
    assert not list(target.iterdir())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory to another user")
def test_a_directory_of_another_user(home: Path, workspace: Path) -> None:
    """What another user made is not ours to trust."""
    place = home / "state" / workspace_key(str(workspace))
    place.mkdir(parents=True)
    os.chown(place, 12345, 12345)
    with pytest.raises(JobError, match="it belongs to another user"):
        StateStore(str(home / "state"), str(workspace))


def test_a_file_in_the_place_of_the_state_directory(home: Path, workspace: Path) -> None:
    """Where no directory can be made, the error says so in one line, with the way out."""
    (home / "state").write_text("")
    with pytest.raises(JobError, match=r"^state: cannot use .*: not a directory: .* --no-state$"):
        StateStore(str(home / "state"), str(workspace))


def with_state(home: Path, workspace: Path) -> StateStore:
    """Give a store that has written all that it writes."""
    store = StateStore(str(home / "state"), str(workspace))
    store.claim_watch(Running(pid=os.getpid(), since=1.0, version="1", backend="auto"))
    store.load()
    store.publish(Vitals(at=2.0, pid=os.getpid(), verdicts={Verdict.HELD: 1}))
    assert store.flush(30)
    return store
