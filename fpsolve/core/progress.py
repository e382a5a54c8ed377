"""A bar on the terminal that counts output times."""

from typing import Any

from tqdm import tqdm


def track(times: Any, progress: bool) -> Any:
    """A `tqdm` bar over the times, or None."""
    return tqdm(total=len(times), unit="time", desc="evolve") if progress else None
