"""Who holds what, live: claims, what tmux says of their sessions, and the registry that keeps them. Pure."""

from watcher.registry.registry import Registry

__all__ = ["Registry"]
