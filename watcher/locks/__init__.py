"""The lock file itself: reading, holding and cleaning it."""
