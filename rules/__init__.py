"""What the facts about a lock mean: pure rules, no I/O, no clock, standard library only."""
