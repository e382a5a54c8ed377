"""Constants of learning dynamics."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class LearningConstants:
    """Constants of `learning` that decide answers or costs, each with its origin."""

    # `softmax_state`
    # derived: roundings of a weight beside those of its exponent
    state_roundings: float = 4.0

    # `replicator`
    replicator_tol: float = 1e-9  # free choice: relative tolerance where none is given
    # free choice: that of the second integration, in units of the first
    replicator_second_tol: float = 0.1
    replicator_most_steps: int = 100_000  # free choice: steps of the integration

    # `anneal`
    anneal_tol: float = 1e-6  # free choice: tolerance where none is given
    # free choice: steps of an interval in the first of the runs that are compared
    anneal_first_steps: int = 8
    # free choice: how many times more steps the next run has
    anneal_step_factor: int = 4
    # derived: 15 at order 2 with four times the steps, with a margin of 5
    anneal_error_divisor: float = 3.0
    anneal_block: int = 128  # free choice, for cost: steps of one call of a program
    # free choice, for cost: steps of an interval in the last
    anneal_most_steps: int = 2**14
    # free choice, for cost: states; a step costs the cube of their number
    anneal_most_states: int = 256

    # `langevin_density`
    # free choice: mass of a start that may be missing in the tails of its wave
    clipped_mass: float = 1e-9
    # free choice: rounding of p / sqrt(pi) up to which there is a wave
    wave_tol: float = 1e-6
    bin_count: int = 25  # free choice: bins of the test, of some hundred walkers each
    # free choice: cells of the bins in one of the grid, an error of h^2 / 16 in a basis
    bin_refinement: int = 4
    # free choice, usual: the least expected number of walkers in a bin
    least_count: float = 5.0
    # free choice: walkers at which the noise of the batches is measured
    noise_walkers: int = 64
    noise_batches: int = 64  # free choice: batches whose gradients are compared at each

    # free choice: units of eps by which the mean over doubled rows may differ
    mean_roundings: float = 1e6
    # free choice: part by which a step may exceed the one given, which is rounding
    step_rounding: float = 1e-9

    # `minimise`
    # free choice, for cost: nodes an axis in 1, 2 and 3 dimensions
    nodes: tuple[int, ...] = (65, 33, 17)
    # free choice: D pi^2 / L^2 at the start, in units of the spread of the values
    first_diffusion: float = 0.1
    # free choice: D falls by it from one level to the next; above 1
    diffusion_ratio: float = 4.0
    most_levels: int = 48  # free choice: levels of D
    # free choice: first relaxation, in times L^2 / (pi^2 D) of the empty box
    relaxation: float = 1.0
    # free choice, for cost: the longest relaxation at one D, in units of the first
    longest_relaxation: float = 64.0
    most_looks: int = 24  # free choice, for cost: looks at the wave at one D
    # derived: exp(-60) is a normal number in single precision, too
    largest_decay: float = 60.0
    # free choice: Var(H) t / (<V> - min V) of a wave that has relaxed
    settled: float = 1e-2
    # free choice: tolerance of the relaxation; only the moments of the wave are used
    relax_tol: float = 1e-6
    tail: float = 1e-4  # free choice: Born weight that a box may leave out at each end
    margin_cells: int = 2  # free choice: cells that a box keeps beyond that
    # free choice: part of an axis below which a shorter box is sampled anew
    shrinks: float = 0.8
    # free choice: cells in a standard deviation from which the same samples serve again
    resolved_cells: float = 3.0
    # free choice: deviation of the last wave in units of the box, if none is given
    tol: float = 1e-3
    # free choice: standard deviations within which two searches have ended in one well
    same_well: float = 6.0
    # free choice: occupied nodes an axis below which several wells are not resolved
    collapsed_nodes: float = 4.0
    # free choice: cells on each side of the deepest well that are searched on
    collapsed_reach: float = 4.0
    # free choice: nodes of the second look, in units of the first; its places differ
    second_nodes: float = 0.87

    # `simulated_annealing`
    # free choice: first temperature in units of the spread of the values
    hottest: float = 1.0
    coldest: float = 1e-5  # free choice: last temperature in units of the first
    widest_step: float = 0.25  # free choice: first step in units of the box
    shortest_step: float = 1e-3  # free choice: last step in units of the box
    # free choice: values whose spread sets the first temperature
    pilot_values: int = 32

    # `boltzmann_energy`
    # free choice: part of max psi_0 below which -2 D log psi_0 is not known
    negligible_wave: float = 1e-7
    # free choice: total variation up to which two densities count as one
    same_state_tol: float = 1e-3


CONSTANTS = LearningConstants()
