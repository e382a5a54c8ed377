"""Constants of `diffusion` that decide answers or costs."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class DiffusionConstants:
    """Constants of `diffusion` that decide answers or costs. Each says where its value comes from."""

    # generation
    bisections: int = 60  # halvings of [0, 1] in the search for a lambda: derived, 2^-60 is below rounding
    min_flow_steps: int = 16  # steps of the first run of the probability flow: a free choice
    max_flow_runs: int = 9  # runs of the flow, each with twice the steps of the last: a free choice
    flow_order: int = 4  # order of the classical Runge-Kutta method: derived

    # particles
    min_bin_count: int = 10  # expected samples in a bin of Pearson's test: a free choice

    # step_rules
    noise_levels: int = 800  # levels between which the best steps are chosen, 1 % apart: a free choice
    work_places: int = 128  # lambdas at which the work of a corrector is computed: a free choice

    # flow_law
    flow_batch: int = 4096  # points that pass a sampler at once: a free choice

    # steps
    noise_radius: float = 8.5  # standard deviations of the noise in a box, P(beyond) = 2e-17: derived from rounding
    kernel_batch: int = 128  # rows of a matrix of kernels that are formed at once: a free choice
    cost_samples: int = 2049  # lambdas at which a cost is integrated: a free choice


CONSTANTS = DiffusionConstants()
