"""The command line: `fpsolve verify`, `run`, `anneal` and `bench`. It parses, calls and prints."""
