"""What other programs import; all of it is at hand in `watcher` itself."""
