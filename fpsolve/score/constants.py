"""Constants of `score` that decide answers. Sizes of batches, which decide memory only,
stay beside their use.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class ScoreConstants:
    """Constants of `score` that decide answers; each says where its value is from."""

    # reconstruct: is the reconstructed density confined, and is the law of the sampler
    # found
    # largest density at the ends of a line, relative to its peak: a free choice
    end_density: float = 1e-4
    # largest relative residual of the system for the sampler's law: a free choice
    stationary_residual: float = 1e-6
    # mass moved in a time 1/gap; also the most negative value / peak: a free choice
    stationary_leak: float = 0.03
    # how far eps2 may lie below 4 lambda by rounding, relative: a free choice
    eps2_slack: float = 1e-6

    # currents: where a wave is rounding, and how the systems are solved
    # of its peak: a wave below this may be rounding, eps = 2e-16 amplified: a free
    # choice
    noise_floor: float = 1e-9
    # times the most negative value: the wave below this may be ringing: a free choice
    ringing_factor: float = 30.0
    # grids up to this size are solved by a full matrix, 75 MB in float64: a free choice
    dense_points: int = 3072
    # Krylov vectors between two restarts of GMRES: a free choice
    gmres_restart: int = 40
    gmres_rounds: int = 20  # restarts of GMRES at most: a free choice
    # relative residual at which GMRES stops: a free choice, near rounding in float64
    gmres_tol: float = 1e-12

    # diagnose: the grid fitted to samples, and the slowest observable on it
    # spacing of nodes in units of 1/sqrt(steepest slope of the score): a free choice
    node_spacing: float = 0.6
    axis_nodes_min: int = 32  # least number of nodes of an axis: a free choice
    # largest number of nodes of an axis: a free choice, bounds the cost in the plane
    axis_nodes_max: int = 200
    # factor of the number of nodes between two grids: a free choice, about sqrt(2)
    grid_growth: float = 1.4
    # relative change of the gap at which the grid is fine enough: a free choice
    gap_change: float = 2e-3
    # samples at which the slope of a score is evaluated: a free choice
    slope_points: int = 1024
    # standard deviations added around the samples: a free choice
    box_margin: float = 3.2
    # of its peak: below it psi_1/psi_0 is held at its range elsewhere: a free choice
    thin_density: float = 1e-4
    # places on a path at which the cost of a schedule is measured: a free choice
    cost_points: int = 10
    # standard errors added to eps^2: a free choice, a one-sided 97.7 % level
    error_deviations: float = 2.0

    # paths and networks
    # a score is learned above this lambda only; at 0 there is no noise: a free choice
    lambda_min: float = 1e-3
    softness: float = 0.1  # delta of a linear tail before training: a free choice
    # alpha is not smaller inside its logarithm, which is -inf at alpha = 0: a free
    # choice
    alpha_min: float = 1e-4

    # sample
    # samples at which a score is evaluated before a run: a free choice
    checked_points: int = 16

    # learn.fit
    # default sigma of denoising, of the least standard deviation: a free choice
    sigma_fraction: float = 0.05
    # largest number of samples that are not trained on: a free choice
    validation_samples: int = 2048
    validation_part: int = 10  # and at most one sample in this many: a free choice
    # and at least this many, what `check_samples` needs: derived
    validation_min: int = 16
    # fewer samples are all trained on, and validated on as well: a free choice
    split_min: int = 64
    # (1 + k)/(10 + k) limits the memory of the average at first: a free choice, usual
    # for EMA
    ema_warmup: int = 10

    # learn.error: regression of s_p - s on random features
    # that are tried: a free choice
    ridges: tuple[float, ...] = (1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0, 100.0, 1e3, 1e4)
    # one of `ridges`, that of the standard error where nothing is found: a free choice
    null_ridge: float = 0.1
    # of cosines, in deviations times sqrt(d): a free choice
    wave_lengths: tuple[float, ...] = (0.4, 0.8, 1.6, 3.2)
    # lambda enters the cosines times this, as a coordinate of width 4: a free choice
    lambda_scale: float = 4.0

    # samples.gap: how many samples, how they are divided, what is reported
    # samples needed for each coordinate or feature: a free choice
    samples_per_number: int = 20
    # samples, or groups of samples, needed beyond those: a free choice
    samples_min: int = 100
    # largest fraction of the samples in one group: a free choice
    group_fraction_max: float = 0.1
    # of a half, on which f is fitted; the rest validates it: a free choice
    training_fraction: float = 0.8
    # relative range below which a feature is constant: a free choice, above rounding
    constant_feature: float = 1e-9
    # samples shown from either end of the slowest observable: a free choice
    end_count: int = 16
    end_fraction: float = 0.05  # fraction of the samples that an end is: a free choice

    # samples.rayleigh: the generalised eigenvalue problem and its optimisation
    # pseudo-samples whose gradients are added to K: a free choice
    interpolated_weight: float = 5.0
    # points between samples at which these gradients are averaged: a free choice
    interpolated_points: int = 1000
    # times eps: features combined to less variance are dropped: a free choice
    rank_rounding: float = 1e3
    optimiser_chunk: int = 4  # L-BFGS steps between two validations: a free choice
    optimiser_chunks: int = 40  # largest number of validations: a free choice
    # validations in a row without gain that end the optimisation: a free choice
    optimiser_patience: int = 2
    # relative decrease of the validation quotient that is a gain: a free choice
    optimiser_gain: float = 1e-3

    # samples.search and samples.features: the families of functions
    line_knots: int = 12  # functions along one direction: a free choice
    kernel_waves: int = 200  # random cosines of a Gaussian kernel: a free choice
    # that are tried, in median distances: a free choice
    kernel_widths: tuple[float, ...] = (0.5, 1.0, 2.0)
    # samples whose distances give the width of a kernel: a free choice
    median_points: int = 1000
    # best directions that a network starts with: a free choice
    network_directions: int = 20
    # samples on which directions are compared, at most: a free choice
    direction_samples: int = 8192
    # directions between two samples that are tried: a free choice
    direction_pairs: int = 32
    # of all variance: the least that Fisher's discriminant divides by: a free choice
    flat_variance: float = 1e-6
    ica_iterations: int = 60  # of FastICA: a free choice
    # of the samples beyond the knots at either end: a free choice
    tail_quantile: float = 1e-3
    # least steepness of the steps of a network, per deviation: a free choice
    steepness_min: float = 1.0
    # largest steepness of the steps of a network, per deviation: a free choice
    steepness_max: float = 4.0


CONSTANTS = ScoreConstants()
