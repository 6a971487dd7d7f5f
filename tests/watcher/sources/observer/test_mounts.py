import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.stress.follower import Follower
from tests.watcher.sources.observer.view import write_lock
from watcher.sources.workspace.mounts import Mounts, read_mounts

_NAMESPACE = ("unshare", "--mount") if os.geteuid() == 0 else ("unshare", "--user", "--map-root-user", "--mount")


@pytest.fixture(name="namespace")
def mount_namespace(tmp_path: Path) -> tuple[str, ...]:
    """What runs a command where it may mount, and nobody else sees it."""
    place = tmp_path / "probe"
    place.mkdir()
    if (
        shutil.which("unshare") is None
        or subprocess.run(
            (*_NAMESPACE, "mount", "-t", "tmpfs", "probe", str(place)), check=False, capture_output=True
        ).returncode
    ):
        pytest.skip("no mount namespace is to be had here")
    return _NAMESPACE


def _sh(follower: Follower, command: str) -> None:
    assert follower.run("sh", "-ec", command) == 0


def _lock(root: Path, worker: str) -> str:
    return str(root / worker / ".runtime" / "agent.lock")


def test_mount_over_a_directory(root: Path, namespace: tuple[str, ...]) -> None:
    """What is mounted over a directory hides its locks, and shows others: no event says so, the mount table does."""
    write_lock(root / "m" / "w")
    with Follower(root, wrapper=namespace) as follower:
        follower.wait(lambda state: state["locks"] == [_lock(root, "m/w")])
        _sh(follower, f"mount -t tmpfs none {root}/m")
        follower.wait(lambda state: state["locks"] == [])
        _sh(follower, f"mkdir -p {root}/m/v/.runtime; echo > {_lock(root, 'm/v')}")
        follower.wait(lambda state: state["locks"] == [_lock(root, "m/v")])
        _sh(follower, f"umount {root}/m")
        follower.wait(lambda state: state["locks"] == [_lock(root, "m/w")])
        write_lock(root / "m" / "x")
        state = follower.wait(lambda state: state["locks"] == [_lock(root, "m/w"), _lock(root, "m/x")])
        assert state["stats"]["rescans"] == 0


def test_root_unmounted(root: Path, namespace: tuple[str, ...]) -> None:
    """An unmounted workspace is left; the directory below it is watched, and the workspace when it is mounted again."""
    image = root / "image"
    mount = f"mount --bind {image} {root}/ws"
    write_lock(image / "a")
    (root / "ws").mkdir()
    wrapper = (*namespace, "sh", "-c", f'{mount}; exec "$@"', "sh")
    with Follower(root / "ws", wrapper=wrapper) as follower:
        follower.wait(lambda state: state["locks"] == [_lock(root, "ws/a")])
        _sh(follower, f"umount {root}/ws")
        state = follower.wait(lambda state: len(state["health"]) == 2 and state["locks"] == [])
        assert [each[:2] for each in state["health"]] == [["workspace", "degraded"], ["workspace", "recovered"]]
        _sh(follower, mount)
        follower.wait(lambda state: state["locks"] == [_lock(root, "ws/a")])
        write_lock(image / "b")
        follower.wait(lambda state: state["locks"] == [_lock(root, "ws/a"), _lock(root, "ws/b")])


def test_bind_mount_shows_a_directory_twice(root: Path, namespace: tuple[str, ...]) -> None:
    """Two paths to one directory share a watch: what happens there is told under both."""
    write_lock(root / "a" / "w")
    (root / "b").mkdir()
    with Follower(
        root, wrapper=(*namespace, "sh", "-c", f'mount --bind {root}/a {root}/b; exec "$@"', "sh")
    ) as follower:
        both = [_lock(root, "a/w"), _lock(root, "b/w")]
        follower.wait(lambda state: state["locks"] == both)
        (root / "a" / "w" / ".runtime" / "agent.lock").unlink()
        follower.wait(lambda state: state["locks"] == [])
        write_lock(root / "a" / "v" / "w")
        follower.wait(lambda state: state["locks"] == [_lock(root, "a/v/w"), _lock(root, "b/v/w")])
        _sh(follower, f"umount {root}/b")
        follower.wait(lambda state: state["locks"] == [_lock(root, "a/v/w")])
        (root / "a" / "v" / "w" / ".runtime" / "agent.lock").write_text("[]")
        follower.wait(lambda state: f"modified {_lock(root, 'a/v/w')}" in state["told"])


def test_overlay_is_polled(root: Path, namespace: tuple[str, ...]) -> None:
    """What is written into a layer below an overlay gives no event: the overlay is polled, and said to be."""
    layers = root.parent / "layers"
    for name in ("upper", "lower", "work"):
        (layers / name).mkdir(parents=True)
    write_lock(layers / "upper" / "a")
    (root / "o").mkdir()
    options = f"lowerdir={layers}/lower,upperdir={layers}/upper,workdir={layers}/work"
    with Follower(root, wrapper=namespace) as follower:
        follower.wait(lambda state: bool(state["scans"]))
        if follower.run("mount", "-t", "overlay", "-o", options, "overlay", f"{root}/o"):
            pytest.skip("no overlay can be mounted here")
        state = follower.wait(lambda state: state["locks"] == [_lock(root, "o/a")])
        assert state["stats"]["silent"] == ["overlay"]
        assert state["stats"]["polled"] == len({"o", "a", ".runtime"})
        (layers / "upper" / "a" / ".runtime" / "agent.lock").write_text("[1]")
        follower.wait(lambda state: f"modified {_lock(root, 'o/a')}" in state["told"])


_TABLE = """\
22 28 0:20 / /proc rw,nosuid shared:5 - proc proc rw
28 1 254:0 / / rw,relatime shared:1 - ext4 /dev/root rw
40 28 0:33 / /srv/ws/with\\040space rw shared:9 master:2 - nfs4 host:/x rw
41 28 0:34 / /srv/ws/f rw - fuse.sshfs host: rw
42 28 8:1 / /srv/ws/n rw - fuseblk /dev/sda1 rw
43 28 0:35 / /srv/other rw - 9p share rw
"""


def test_mount_table(tmp_path: Path) -> None:
    """The table gives mount points, the devices that count subdirectories, and those that notify nobody."""
    table = tmp_path / "mountinfo"
    table.write_text(_TABLE)
    mounts = read_mounts(str(table))
    assert (40, "/srv/ws/with space", "nfs4") in mounts.points
    assert mounts.leafy == {os.makedev(254, 0)}
    assert mounts.silent == {os.makedev(0, 33): "nfs4", os.makedev(0, 34): "fuse.sshfs", os.makedev(0, 35): "9p"}
    assert mounts.silent_below("/srv/ws", os.makedev(254, 0)) == ("fuse.sshfs", "nfs4")
    assert mounts.silent_below("/srv/other", os.makedev(0, 35)) == ("9p",)


def test_changes_of_the_mount_table(tmp_path: Path) -> None:
    """A mount that came, went, or was replaced in place is a change at its mount point."""
    table = tmp_path / "mountinfo"
    table.write_text(_TABLE)
    before = read_mounts(str(table))
    table.write_text(_TABLE.replace("41 28", "55 28"))
    assert read_mounts(str(table)).changed_since(before) == {"/srv/ws/f"}
    assert Mounts().changed_since(before) == {point for _, point, _ in before.points}


def test_no_mount_table(tmp_path: Path) -> None:
    """Where there is no mount table nothing is known, and nothing fails."""
    assert read_mounts(str(tmp_path / "none")) == Mounts()
