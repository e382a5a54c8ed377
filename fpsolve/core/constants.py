"""Numbers of `core` that decide how much is kept in memory and on disk."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class CoreConstants:
    """Constants of `core` that decide costs. Each says where its value comes from."""

    # Compiled programs that `program` keeps in memory.
    # no session is expected to use so many formulas at once: a free choice
    max_programs: int = 256

    # Elements of the largest argument up to which a program of shapes is compiled
    # quickly. The first spectrum on 128 x 128 nodes takes 4 to 5 s instead of 9 to 11,
    # and .23 to .39 s instead of .15 afterwards: measured
    quick_elements: int = 2**14

    # Estimated seconds of a run up to which its program is compiled quickly. Against
    # JAX's own options it takes 1 to 2 s less to compile and runs up to seven times as
    # long: measured, on 48^2 to 192^2 nodes and on lines
    quick_seconds: float = 0.03
    # The same for a program that is compiled in the balanced way. It takes .5 to 1 s
    # less to compile and runs up to 1.8 times as long: measured, as before
    balanced_seconds: float = 0.5

    # Size of the compilation cache on disk, in bytes, and the fraction of it that
    # remains after a cleaning, so that not every start has to delete programs. On a CPU
    # a program takes 9 kB on average.
    # 1 GiB, the programs of 250 runs of `fpsolve verify` on a CPU: a free choice
    max_cache_bytes: int = 2**30
    cache_fraction_kept: float = 0.75  # a free choice

    # States that the reverse mode of `loop` keeps; the others are computed again.
    loop_checkpoints: int = 64  # between memory and recomputation: a free choice


CONSTANTS = CoreConstants()
