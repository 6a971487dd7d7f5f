"""What a process's environment says of the tmux server that it runs under."""

import psutil


def tmux_socket_of(pid: int) -> str:
    """Give the socket of the tmux server that `TMUX` names in the environment of `pid`.

    Empty where it names none, or one by a relative path, or may not be read. `TMUX` is
    `socket,server pid,session number` (tmux(1)). The environment lies in the process's own memory, so a
    process that is stuck may keep the reader waiting: not to be called in the loop.
    """
    try:
        value = psutil.Process(pid).environ().get("TMUX", "")
    except (psutil.Error, OSError, ValueError):
        return ""
    socket, *rest = value.rsplit(",", 2)
    return socket if socket.startswith("/") and rest else ""
