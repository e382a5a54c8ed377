"""The command line: `fpsolve verify`, `run`, `anneal` and `bench`. It parses, calls and
prints.
"""


def main() -> None:
    """The command `fpsolve`, for scripts installed before it moved to `application`."""
    from .application import main as run

    run()
