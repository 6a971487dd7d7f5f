"""Where facts come from: the file system, the process table, tmux."""
