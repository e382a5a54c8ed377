"""Constants of `operator` that decide answers or costs."""

import dataclasses

MinNodes = dict[tuple[str, int], int]  # by backend and bits of a number


@dataclasses.dataclass(frozen=True)
class OperatorConstants:
    """Constants of `operator` that decide answers or costs, each with its origin."""

    # aliasing
    # of the sampling frequency, below its half: the shortest tenth; a free choice
    short_wave_band: float = 0.05
    # a wave's error is its own if it is so many times that of its density: a free
    # choice
    aliasing_excess: float = 4.0

    # clipping
    # fraction of `tol` that clipping may cost: a free choice
    clipping_tol_fraction: float = 0.01
    # amplitude of a wave, relative to its mean, from which it is clipped: a free choice
    large_amplitude: float = 100.0
    # derived: log M is then known to 1/500 of itself, which changes p by less than
    # rounding
    bisection_steps: int = 14
    # of the largest number, for a wave that overflows: derived, r^4 must be finite
    largest_wave_power: float = 0.2
    # of log M above the largest wave: derived, r^4 = e^-40 is below rounding there
    height_margin: float = 10.0

    # expansions in time
    # some three periods of a drive; an interval that needs more is halved: a free
    # choice
    expansion_terms: int = 32
    # error of an expansion in units of rounding, for sums of 32 terms: a free choice
    expansion_roundings: float = 200.0
    # times at which an expansion is compared with the functions: a free choice
    expansion_checks: int = 7
    # range of lambda of an expansion where a schedule rests: a free choice
    min_schedule_range: float = 1e-3

    # rates
    # derived: below it the next term, z^8 / 1209600, is below rounding
    bernoulli_series_below: float = 1e-2

    # jumps and zeros of D (`subcells`, `flux_rates`, `varying_diffusion`)
    # A change between two samples is a jump from so many times the sum of both changes
    # beside it. A smooth function that the samples resolve has 1/2, a parabola between
    # its samples at most 1, a kink 1.
    jump_ratio: float = 2.0  # a free choice
    # changes below so many roundings of the largest value are none: a free choice
    jump_roundings: float = 64.0
    # of half a cell about a jump, which is then known to 1e-6 of a cell: a free choice
    bisections: int = 20
    # of a cell, by which functions are sampled inside an end that is no point: a free
    # choice
    inset: float = 1e-9
    # derived: e^-P is zero in every precision, and P keeps its digits
    largest_slope: float = 1e4
    # above -1 of a power that has an integral: derived, exponents are known to 1e-6
    least_exponent: float = 1e-4
    # of Phi in half a cell, up to which a mass counts e^-Phi in full: a free choice
    moderate_rise: float = 1.0

    # spectral: nodes from which the FFT of an axis is faster than its matrix. On a
    # processor by `benchmarks/crossover.py`, on an NVIDIA H200 by the rows
    # `crossover-*` of `benchmarks/accelerator.py`
    fourier_min_nodes: MinNodes = dataclasses.field(  # measured
        default_factory=lambda: {
            ("cpu", 64): 192,
            ("cpu", 32): 384,
            ("gpu", 64): 1024,
            ("gpu", 32): 1024,
        }
    )
    # measured; gpu float64 by the ratio to the others in float32
    sines_min_nodes: MinNodes = dataclasses.field(
        default_factory=lambda: {
            ("cpu", 64): 384,
            ("cpu", 32): 768,
            ("gpu", 64): 2048,
            ("gpu", 32): 1024,
        }
    )
    unmeasured_min_nodes: int = 1024  # on other backends: a free choice


CONSTANTS = OperatorConstants()
