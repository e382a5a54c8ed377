"""Fit a score to samples by score matching.

    min_θ E_p|s_θ - s_p|² = min_θ J(s_θ) + E_p|s_p|²    implicit, sliced
    min_θ E_σ|s_θ - s_σ|²                    denoising, p_σ the density of x + σz
    min_θ E_λ σ²(λ) E_λ|s_θ(·, λ) - s_λ|²    denoising along a path,
                                             p_λ that of α x + σ z

The training minimises J, which samples give. E|s_p|² is estimated at the end on
validation samples, which were not trained on, and added to the J that is returned.
Reference: as `losses`, and Song et al. (ICLR 2021), eq. 7 for paths.
"""

import time
from collections.abc import Callable
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from tqdm import tqdm

from ...core.checks import check_choice, check_finite_number, raise_value_error
from ...core.types import Count, FilePath, Formula, Key, Numbers, Real
from ...diffusion.types import Amplitudes
from ..constants import CONSTANTS
from ..fields import StaticScore, TimeDependentScore, as_score
from ..noise_path import as_path
from ..samples.validation import check_output, check_samples
from .checks import check_losses, check_options, check_trainable
from .error import score_error
from .perceptron import Fixed
from .training import (
    CHUNK,
    Objective,
    Training,
    TrainingCheckpoint,
    advance,
    begin,
    fingerprint,
    mean_loss,
)

Model = TypeVar("Model")
REMEDY = (
    "Lower the rate of the optimiser, chain it after optax.clip_by_global_norm(1.0), "
    "or raise sigma."
)
LOSSES = ("denoising", "implicit", "sliced")
# seconds between two saves: a free choice, small against what a restart costs
SAVE_INTERVAL = 5.0


def fit(
    model: Model,
    samples: Numbers,
    *,
    optimiser: Any,
    steps: Count,
    key: Key,
    loss: Any = "denoising",
    sigma: Real | None = None,
    path: Amplitudes | str | None = None,
    quantile: Formula | None = None,
    batch: Count = 512,
    ema: Real | None = 0.999,
    progress: bool = False,
    checkpoint: FilePath | None = None,
) -> tuple[Model, np.ndarray]:
    """The model whose score matches the samples, and its error at every step.

    **Arguments**

    - `model`: an `EnergyNetwork`, a `VectorNetwork`, or any Equinox module or callable
      pytree x -> score `(d,)`, or (x, λ) -> score; an `fp.Potential` U stands for -∇U.
      Its arrays of floats are trained
    - `samples`: `(n, d)`; `optimiser`: of optax; `steps`: how many; `key`: of
      everything random
    - `loss`: "denoising", "implicit" (exact divergence, d times the cost) or "sliced"
      (one random direction)
    - `sigma`: of the denoising loss without a path; 0.05 of the least standard
      deviation of a coordinate if None. The score learned is that of the samples noised
      by it
    - `path`: for scores of x and λ; with methods `alpha` and `sigma`, `fp.Noising` for
      one, or "vp" or "ve"; that of the network if None
    - `quantile`: along a path, λ from numbers spread evenly over (0, 1); None takes λ
      evenly in [0.001, 1]
    - `batch`: samples a step; `ema`: the parameters returned are a running average of
      this memory, None for the last
    - `progress`: a bar on the terminal; `checkpoint`: a folder to which the training is
      saved every few seconds. The same call resumes from there, to the same bits, and
      may have more steps

    **Returns** the model, and `(steps,)` the batch's J plus E|s_p|²: E|s - s_p|² in the
    units of theorems T7 and T8, of one batch and thus noisy; E|s_p|² by `score_error`
    on validation samples, which errs downwards.

    **Raises** `ValueError` for samples that are not finite, too few or of another
    shape, a model whose output is not `(d,)` or not finite, an unknown loss, one that
    does not go with a path, an optimiser that is not optax's, a folder of another
    problem; `NumericalFailure` when the loss ceases to be finite. **Keeps**: the same
    key gives the same bits. **Cost**: a step takes `batch` scores and their gradients,
    twice for denoising, d times for implicit; one program for any number of steps.

    ```python
    import jax, optax
    from fpsolve.score.learn.fit import fit
    from fpsolve.score.learn.networks import EnergyNetwork, standardised

    first, second, third = jax.random.split(jax.random.key(0), 3)
    samples = 2.0 + jax.random.normal(first, (1000, 1))
    energy = EnergyNetwork(1, key=second, width=8, depth=1, **standardised(samples))
    energy, history = fit(
        energy, samples, optimiser=optax.adam(1e-3), steps=20, key=third, batch=64
    )
    ```
    """
    array = check_samples(samples)
    check_choice("loss", loss, LOSSES)
    steps, batch = check_options(optimiser, steps, key, batch, ema)
    # What is trained, the loss, and a first evaluation of the model.
    score = as_score(model)
    parameters, rest = check_trainable(model)
    objective = _objective(model, score, array, loss, sigma, path, quantile)
    dtype = jnp.result_type(*jax.tree.leaves(parameters))
    points = jnp.asarray(array, dtype)
    place = None if objective.path is None else jnp.asarray(0.5, dtype)
    check_output("model", score, points[:256], place)

    # Each purpose has a key of its own: a change of one leaves the others' numbers as
    # they are.
    split_key, training_key, error_key = jax.random.split(key, 3)
    training, validation = _split(points, split_key)
    state = begin(parameters, optimiser)
    history = np.zeros(0)
    folder = None
    # A training that was saved goes on from there; one of another problem is an error.
    if checkpoint is not None:
        problem = fingerprint(
            model, objective, points, key, optimiser, batch=batch, ema=ema
        )
        folder = TrainingCheckpoint(checkpoint, problem)
        state, history = folder.load(state)
        if len(history) > steps:
            allowed = f"the training in {checkpoint} has made {len(history)} already"
            cure = "Give as many at least, or another folder."
            raise_value_error("steps", steps, allowed, cure)

    # Without an average the memory is zero, and one program serves both cases.
    memory = jnp.asarray(0.0 if ema is None else ema, dtype)

    def run(state: Training, count: int) -> Training:
        """The training `count` steps later."""
        return advance(
            state,
            rest,
            objective,
            training,
            training_key,
            optimiser,
            batch,
            memory,
            jnp.asarray(count),
        )

    state, history = _run(run, state, history, steps, folder, progress)
    fitted = eqx.combine(state.parameters if ema is None else state.average, rest)
    irreducible = _irreducible(fitted, objective, points, validation, error_key)
    return fitted, history + irreducible


def _split(points: Array, key: Array) -> tuple[Array, Array]:
    """The samples to train on, and those to estimate the error of the result on: all of
    them, where they are few.
    """
    order = jax.random.permutation(key, len(points))
    if len(points) < CONSTANTS.split_min:
        return points[order], points
    # A tenth of the samples, but neither too few for an estimate nor more than one
    # needs.
    part = min(CONSTANTS.validation_samples, len(points) // CONSTANTS.validation_part)
    count = max(CONSTANTS.validation_min, part)
    return points[order[count:]], points[order[:count]]


def _run(
    run: Callable[[Training, int], Training],
    state: Training,
    history: np.ndarray,
    steps: int,
    folder: TrainingCheckpoint | None,
    progress: bool,
) -> tuple[Training, np.ndarray]:
    """The training after `steps` steps, with the J of each, in pieces of `CHUNK` steps.
    After every piece the loss is checked, and the state is saved if the last time was
    long ago.
    """
    bar = None
    if progress:
        bar = tqdm(total=steps, initial=len(history), unit="step", desc="fit")
    last_save = time.monotonic()
    while (done := len(history)) < steps:
        count = min(CHUNK, steps - done)
        state = run(state, count)
        values = np.asarray(state.losses)[:count]
        # After one NaN all parameters are NaN: the rest of the steps would be wasted.
        check_losses(values, done, REMEDY)
        history = np.concatenate([history, values])
        if bar is not None:
            bar.update(count)
            bar.set_postfix(J=f"{values.mean():.4g}")
        is_due = time.monotonic() - last_save > SAVE_INTERVAL
        if folder is not None and (is_due or len(history) == steps):
            folder.save(state, history)
            last_save = time.monotonic()
    if bar is not None:
        bar.close()
    return state, history


def _irreducible(
    model: Any, objective: Objective, points: Array, validation: Array, key: Array
) -> float:
    """E|s_p|²: the error of the model on the validation samples less its mean J. J is
    averaged over all samples, which has less noise.
    """
    # E|s - s_p|² = J + E|s_p|² holds for every s, so for this one.
    error_key, loss_key = jax.random.split(key)
    sigma = None if objective.sigma is None else float(objective.sigma)
    error = score_error(
        model, validation, key=error_key, sigma=sigma, path=objective.path
    ).value
    return error - float(mean_loss(model, objective, points, loss_key))


def _objective(
    model: Any,
    score: StaticScore | TimeDependentScore,
    samples: np.ndarray,
    loss: str,
    sigma: Real | None,
    path: Amplitudes | str | None,
    quantile: Formula | None,
) -> Objective:
    """The loss with its noise. **Raises** `ValueError` for arguments that do not go
    together.
    """
    path = _path_of(model, score, path)
    if path is not None and loss != "denoising":
        allowed = "along a path there is the denoising loss only"
        raise_value_error("loss", loss, allowed, 'Give loss="denoising".')
    if quantile is not None and (path is None or not callable(quantile)):
        allowed = "it must be a function, and there must be a path"
        raise_value_error("quantile", quantile, allowed, "Give lambda u: u**2, say.")
    width = _noise_width(samples, loss, sigma, path)
    # An array: another width is no new program.
    array = None if width is None else jnp.asarray(width, float)
    return Objective(loss, array, path, quantile)


def _path_of(
    model: Any, score: StaticScore | TimeDependentScore, path: Any
) -> Amplitudes | None:
    """The path that is trained along: `path`, or that of the network, or None for a
    score without time.
    """
    own = getattr(model, "path", None)
    # Only the networks of this library have a path of their own.
    own = own.value if isinstance(own, Fixed) else None
    path = own if path is None else as_path(path)
    if path is None and score.time_dependent:
        allowed = "the model takes a time, and there is no path"
        cure = 'Give path="vp", or fp.Noising(mixture).'
        raise_value_error("path", path, allowed, cure)
    if path is not None and not score.time_dependent:
        allowed = "it takes no time, and there is a path"
        cure = "Give timed=True to the network, or no path."
        raise_value_error("model", model, allowed, cure)
    # The scaling of a network contains α and σ of its path: it would be trained on data
    # of another size.
    if own is not None and path is not own and not _is_same_path(own, path):
        allowed = "the network was made for another path"
        cure = "Give the network this path, or leave it out."
        raise_value_error("path", path, allowed, cure)
    return path


def _noise_width(
    samples: np.ndarray, loss: str, sigma: Real | None, path: Amplitudes | None
) -> Real | None:
    """σ of the denoising loss without a path; None in all other cases."""
    denoises_once = path is None and loss == "denoising"
    if sigma is not None:
        if not denoises_once:
            allowed = "it is for the denoising loss without a path"
            raise_value_error("sigma", sigma, allowed, "Leave it out.")
        if check_finite_number("sigma", sigma, "Give a positive number.") <= 0:
            cure = "Give a small part of the width of the density."
            raise_value_error("sigma", sigma, "it must be positive", cure)
        return sigma
    if not denoises_once:
        return None
    # The narrowest coordinate limits the noise: it is blurred first.
    width = CONSTANTS.sigma_fraction * float(samples.std(axis=0).min())
    if not width > 0:
        allowed = "one coordinate never changes"
        cure = "Leave it out, or give sigma."
        raise_value_error("samples", samples.shape, allowed, cure)
    return width


def _is_same_path(first: object, second: object) -> bool:
    """Whether two paths have the same α and σ at seven places."""
    lam = jnp.linspace(0.01, 1, 7)
    return all(
        np.allclose(getattr(first, name)(lam), getattr(second, name)(lam))
        for name in ("alpha", "sigma")
    )
