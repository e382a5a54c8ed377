"""Constants of `operator` that decide answers or costs."""

import dataclasses

MinNodes = dict[tuple[str, int], int]  # by backend and bits of a number


@dataclasses.dataclass(frozen=True)
class OperatorConstants:
    """Constants of `operator` that decide answers or costs. Each says where its value comes from."""

    # aliasing
    short_wave_band: float = 0.05  # of the sampling frequency, below its half: the shortest tenth; a free choice
    aliasing_excess: float = 4.0  # a wave's error is its own if it is so many times that of its density: a free choice

    # clipping
    clipping_tol_fraction: float = 0.01  # fraction of `tol` that clipping may cost: a free choice
    large_amplitude: float = 100.0  # amplitude of a wave, relative to its mean, from which it is clipped: a free choice
    bisection_steps: int = 14  # derived: log M is then known to 1/500 of itself, which changes p by less than rounding
    height_margin: float = 10.0  # of log M above the largest wave: derived, r^4 = e^-40 is below rounding there

    # expansions in time
    expansion_terms: int = 32  # some three periods of a drive; an interval that needs more is halved: a free choice
    expansion_roundings: float = (
        200.0  # error of an expansion in units of rounding, for sums of 32 terms: a free choice
    )
    expansion_checks: int = 7  # times at which an expansion is compared with the functions: a free choice
    min_schedule_range: float = 1e-3  # range of lambda of an expansion where a schedule rests: a free choice

    # rates
    bernoulli_series_below: float = 1e-2  # derived: below it the next term, z^8 / 1209600, is below rounding

    # spectral: nodes from which the FFT of an axis is faster than its matrix. On a processor by
    # `benchmarks/crossover.py`, on an NVIDIA H200 by the rows `crossover-*` of `benchmarks/accelerator.py`
    fourier_min_nodes: MinNodes = dataclasses.field(  # measured
        default_factory=lambda: {("cpu", 64): 192, ("cpu", 32): 384, ("gpu", 64): 1024, ("gpu", 32): 1024}
    )
    sines_min_nodes: MinNodes = dataclasses.field(  # measured; gpu float64 by the ratio to the others in float32
        default_factory=lambda: {("cpu", 64): 384, ("cpu", 32): 768, ("gpu", 64): 2048, ("gpu", 32): 1024}
    )
    unmeasured_min_nodes: int = 1024  # on other backends: a free choice


CONSTANTS = OperatorConstants()
