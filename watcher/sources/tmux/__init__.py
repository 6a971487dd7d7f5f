"""tmux: which servers there are, and which panes they have, live."""
