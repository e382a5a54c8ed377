"""What every package uses: checks and their messages, result codes, loops, and `along` for one axis of many."""
