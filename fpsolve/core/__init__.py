"""Below every floor: checks and their messages, result codes, loops, and `along`, the one n-dimensional primitive."""
