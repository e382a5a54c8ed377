"""Constants of `flow` that decide answers or costs."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class FlowConstants:
    """Constants of `flow` that decide answers or costs, each with its origin."""

    # madelung
    # |psi| in units of its error up to which it is taken for zero: the error of a
    # velocity is then above its size.
    node_factor: float = 2.0  # derived: as said
    # units of rounding of the largest |psi|, of a wave and its derivatives: measured
    wave_roundings: float = 32.0

    # particles
    # output times of one interpolation of a wave in time, a cubic: a free choice
    time_nodes: int = 4
    # steps of a particle between two output times: a free choice
    particle_steps: int = 2

    # fit
    # width of the last Gaussian around a sample, relative to the data: a free choice
    least_noise: float = 1e-3
    # functions cos(pi j t) that are inputs of a network: a free choice, part of it
    time_features: int = 6
    # steps in one call of the program, after which the loss is checked: a free choice
    steps_at_once: int = 200

    # resources
    # accuracy of the exponential in the count of queries: a free choice
    query_roundings: float = 1e-10


CONSTANTS = FlowConstants()
