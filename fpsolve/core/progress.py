"""A progress bar on the terminal that counts output times."""

from typing import Any

from .types import AnyArray


def track(times: AnyArray, progress: bool) -> Any:
    """A `tqdm` bar over the times, or None without `progress`."""
    if not progress:
        return None
    from tqdm import tqdm  # only here, so that `import fpsolve` stays quick

    return tqdm(total=len(times), unit="time", desc="evolve")
