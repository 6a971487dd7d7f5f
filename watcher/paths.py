"""Workers and their locks as paths. A worker is named by its path relative to the workspace, `.` for the root. Pure."""

LOCK = "/.runtime/agent.lock"


def worker_of(root: str, lock_path: str) -> str:
    """Name the worker that an absolute lock path below the workspace `root` belongs to."""
    return lock_path[: -len(LOCK)][len(root.rstrip("/")) + 1 :] or "."


def directory_of(root: str, worker: str) -> str:
    """Give the absolute path of a worker of the workspace `root`."""
    return root if worker == "." else f"{root.rstrip('/')}/{worker}"


def lock_path_of(directory: str) -> str:
    """Give the path of the lock in a worker's directory."""
    return f"{directory.rstrip('/')}{LOCK}"
