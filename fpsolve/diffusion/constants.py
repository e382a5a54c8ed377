"""Constants of `diffusion` that decide answers or costs."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class DiffusionConstants:
    """Constants of `diffusion` that decide answers or costs, each with its origin."""

    # generation
    # halvings of [0, 1] in the search for a lambda: derived, 2^-60 is below rounding
    bisections: int = 60
    # steps of the first run of the probability flow: a free choice
    min_flow_steps: int = 16
    # runs of the flow, each with twice the steps of the last: a free choice
    max_flow_runs: int = 9
    flow_order: int = 4  # order of the classical Runge-Kutta method: derived

    # particles
    # expected samples in a bin of Pearson's test: a free choice
    min_bin_count: int = 10

    # step_rules
    # levels between which the best steps are chosen, 1 % apart: a free choice
    noise_levels: int = 800
    # lambdas at which the work of a corrector is computed: a free choice
    work_places: int = 128

    # flow_law
    flow_batch: int = 4096  # points that pass a sampler at once: a free choice

    # steps
    # deviations of the noise in a box, P(beyond) = 2e-17: derived from rounding
    noise_radius: float = 8.5
    # rows of a matrix of kernels that are formed at once: a free choice
    kernel_batch: int = 128
    cost_samples: int = 2049  # lambdas at which a cost is integrated: a free choice


CONSTANTS = DiffusionConstants()
