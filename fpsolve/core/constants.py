"""Numbers of `core` that decide how much is kept in memory and on disk."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class CoreConstants:
    """Constants of `core` that decide costs. Each says where its value comes from."""

    # Compiled programs that `program` keeps in memory.
    max_programs: int = 256  # no session is expected to use so many formulas at once: a free choice

    # Size of the compilation cache on disk, in bytes, and the fraction of it that remains after a cleaning, so that not
    # every start has to delete programs. On a CPU a program takes 9 kB on average.
    max_cache_bytes: int = 2**30  # 1 GiB, the programs of 250 runs of `fpsolve verify` on a CPU: a free choice
    cache_fraction_kept: float = 0.75  # a free choice

    # States that the reverse mode of `loop` keeps; the others are computed again.
    loop_checkpoints: int = 64  # between memory and recomputation: a free choice


CONSTANTS = CoreConstants()
