"""The processes that locks name: whether they are there, which they are, when they end."""
