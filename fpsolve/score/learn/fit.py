"""Fit a score to samples by score matching.

    min_θ E_p|s_θ - s_p|² = min_θ J(s_θ) + E_p|s_p|²         implicit, sliced
    min_θ E_σ|s_θ - s_σ|²                                    denoising, p_σ the density of x + σz
    min_θ E_λ σ²(λ) E_λ|s_θ(·, λ) - s_λ|²                    denoising along a path, p_λ that of α x + σ z

The training minimises J, which samples know; E|s_p|² is estimated at the end on samples held out, and added to what is
reported. Reference: as `losses`, and Song et al. (ICLR 2021), eq. 7 for paths.
"""

import time
from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array
from tqdm import tqdm

from ...core.checks import check_choice, check_finite_number, check_integer, raise_value_error
from ...core.result import NumericalFailure
from ...core.types import Count, Real
from ..fields import MovingScore, as_score
from ..noise_path import as_path
from ..samples.validation import check_key, check_output, check_samples
from .error import score_error
from .networks import Fixed
from .training import CHUNK, Objective, TrainingCheckpoint, advance, begin, fingerprint, mean_loss, trainable

Model = TypeVar("Model")
LOSSES = ("denoising", "implicit", "sliced")
LITTLE = 0.05  # σ of the denoising loss by default, in the least standard deviation of a coordinate
HELD_OUT = 2048  # samples, or a tenth, that are not trained on
SAVE = 5.0  # seconds between two saves


def fit(
    model: Model,
    samples: Any,
    *,
    optimiser: Any,
    steps: Count,
    key: Any,
    loss: Any = "denoising",
    sigma: Real | None = None,
    path: Any = None,
    quantile: Any = None,
    batch: Count = 512,
    ema: Any = 0.999,
    progress: Any = False,
    checkpoint: Any = None,
) -> tuple[Model, np.ndarray]:
    """The model whose score matches the samples, and what it erred by at every step.

    **Arguments**

    - `model`: an `EnergyNetwork`, a `VectorNetwork`, or any Equinox module or callable pytree x -> score `(d,)`, or
      (x, λ) -> score; an `fp.Potential` U stands for -∇U. Its arrays of floats are trained
    - `samples`: `(n, d)`; `optimiser`: of optax; `steps`: how many; `key`: of everything random
    - `loss`: "denoising", "implicit" (exact divergence, d times the cost) or "sliced" (one random direction)
    - `sigma`: of the denoising loss without a path; 0.05 of the least standard deviation of a coordinate if None. The
      score learned is that of the samples noised by it
    - `path`: for scores of x and λ; with methods `alpha` and `sigma`, `fp.Noising` for one, or "vp" or "ve"; that of
      the network if None
    - `quantile`: along a path, λ from numbers spread evenly over (0, 1); None takes λ evenly in [0.001, 1]
    - `batch`: samples a step; `ema`: the parameters returned are a running average of this memory, None for the last
    - `progress`: a bar on the terminal; `checkpoint`: a folder that keeps the training every few seconds, from where
      the same call resumes, to the same bits; it may then ask for more steps

    **Returns** the model, and `(steps,)` the batch's J plus E|s_p|²: E|s - s_p|² in the units of theorems T7 and T8, of
    one batch and thus noisy; E|s_p|² by `score_error` on held-out samples, which errs downwards.

    **Raises** `ValueError` for samples that are not finite, too few or of another shape, a model whose output is not
    `(d,)` or not finite, an unknown loss, one that does not go with a path, an optimiser that is not optax's, a folder
    of another problem; `NumericalFailure` when the loss ceases to be finite. **Keeps**: the same key gives the same
    bits. **Cost**: a step takes `batch` scores and their gradients, twice for denoising, d times for implicit; one
    program for any number of steps.

    ```python
    import jax, optax
    from fpsolve.score.learn.fit import fit
    from fpsolve.score.learn.networks import EnergyNetwork, standardised

    first, second, third = jax.random.split(jax.random.key(0), 3)
    samples = 2.0 + jax.random.normal(first, (1000, 1))
    energy = EnergyNetwork(1, key=second, width=8, depth=1, **standardised(samples))
    energy, history = fit(energy, samples, optimiser=optax.adam(1e-3), steps=20, key=third, batch=64)
    ```
    """
    array = check_samples(samples)
    check_choice("loss", loss, LOSSES)
    steps = check_integer("steps", steps, 1, "Give the number of steps.")
    batch = check_integer("batch", batch, 1, "Give the number of samples of a step.")
    check_key(key)
    if not isinstance(optimiser, optax.GradientTransformation):
        raise_value_error("optimiser", optimiser, "it must be an optax optimiser", "Give optax.adam(1e-3), say.")
    if ema is not None and not 0 <= check_finite_number("ema", ema) < 1:
        raise_value_error("ema", ema, "it must lie in [0, 1)", "Give 0.999, or None for no average.")
    score = as_score(model)
    parameters, rest = trainable(model)
    if not jax.tree.leaves(parameters):
        cure = "Give an Equinox module, or jax.tree_util.Partial(f, parameters)."
        raise_value_error("model", model, "it has no array of floats to train", cure)
    objective = _objective(model, score, array, loss, sigma, path, quantile)
    dtype = jnp.result_type(*jax.tree.leaves(parameters))
    points = jnp.asarray(array, dtype)
    check_output("model", score, points[:256], None if objective.path is None else jnp.asarray(0.5, dtype))

    apart, running, judging = jax.random.split(key, 3)
    order = jax.random.permutation(apart, len(points))
    held = max(16, min(HELD_OUT, len(points) // 10)) if len(points) >= 64 else 0
    training, kept = points[order[held:]], points[order[:held]] if held else points
    state, history = begin(parameters, optimiser), np.zeros(0)
    folder = None
    if checkpoint is not None:
        mine = fingerprint(model, objective, points, key, optimiser, batch=batch, ema=ema)
        folder = TrainingCheckpoint(checkpoint, mine)
        state, history = folder.load(state)
        if len(history) > steps:
            allowed = f"the training in {checkpoint} has made {len(history)} already"
            raise_value_error("steps", steps, allowed, "Give as many at least, or another folder.")
    bar = tqdm(total=steps, initial=len(history), unit="step", desc="fit") if progress else None
    saved = time.monotonic()
    while (done := len(history)) < steps:
        count = min(CHUNK, steps - done)
        memory = jnp.asarray(0.0 if ema is None else ema, dtype)
        state = advance(state, rest, objective, training, running, optimiser, batch, memory, jnp.asarray(count))
        values = np.asarray(state.losses)[:count]
        _check_finite(values, done)
        history = np.concatenate([history, values])
        if bar is not None:
            bar.update(count)
            bar.set_postfix(J=f"{values.mean():.4g}")
        if folder is not None and (time.monotonic() - saved > SAVE or len(history) == steps):
            folder.save(state, history)
            saved = time.monotonic()
    if bar is not None:
        bar.close()
    fitted = eqx.combine(state.parameters if ema is None else state.average, rest)
    return fitted, history + _irreducible(fitted, objective, points, kept, judging)


def _irreducible(model: Any, objective: Objective, points: Array, held: Array, key: Array) -> float:
    """E|s_p|²: what the model still errs by on samples held out, less its mean J on all, which is less noisy."""
    first, second = jax.random.split(key)
    sigma = None if objective.sigma is None else float(objective.sigma)
    error = score_error(model, held, key=first, sigma=sigma, path=objective.path).value
    return error - float(mean_loss(model, objective, points, second))


def _objective(
    model: Any, score: Any, samples: np.ndarray, loss: Any, sigma: Any, path: Any, quantile: Any
) -> Objective:
    """The loss with its noise, or a refusal of what does not go together."""
    own = getattr(model, "path", None)
    own = own.value if isinstance(own, Fixed) else None
    path = own if path is None else as_path(path)
    time_dependent = isinstance(score, MovingScore)
    if path is None and time_dependent:
        raise_value_error(
            "path", path, "the model takes a time, and there is no path", 'Give path="vp", or fp.Noising(mixture).'
        )
    if path is not None and not time_dependent:
        raise_value_error(
            "model", model, "it takes no time, and there is a path", "Give timed=True to the network, or no path."
        )
    if own is not None and path is not own and not _same(own, path):
        raise_value_error(
            "path", path, "the network was made for another path", "Give the network this path, or leave it out."
        )
    if path is not None and loss != "denoising":
        raise_value_error("loss", loss, "along a path there is the denoising loss only", 'Give loss="denoising".')
    if quantile is not None and (path is None or not callable(quantile)):
        raise_value_error(
            "quantile", quantile, "it must be a function, and there must be a path", "Give lambda u: u**2, say."
        )
    if sigma is not None:
        if path is not None or loss != "denoising":
            raise_value_error("sigma", sigma, "it is for the denoising loss without a path", "Leave it out.")
        if check_finite_number("sigma", sigma, "Give a positive number.") <= 0:
            raise_value_error("sigma", sigma, "it must be positive", "Give a small part of the width of the density.")
    elif loss == "denoising" and path is None:
        sigma = LITTLE * float(samples.std(axis=0).min())
        if not sigma > 0:
            raise_value_error("samples", samples.shape, "one coordinate never changes", "Leave it out, or give sigma.")
    return Objective(loss, None if sigma is None else jnp.asarray(sigma, float), path, quantile)


def _same(first: Any, second: Any) -> bool:
    lam = jnp.linspace(0.01, 1, 7)
    return all(np.allclose(getattr(first, name)(lam), getattr(second, name)(lam)) for name in ("alpha", "sigma"))


def _check_finite(values: np.ndarray, done: int) -> None:
    bad = np.flatnonzero(~np.isfinite(values))
    if bad.size:
        last = f"; {values[bad[0] - 1]:.4g} the step before" if bad[0] else ""
        raise NumericalFailure(
            f"not_finite: the loss is not finite at step {done + int(bad[0])}{last}. Lower the rate of the optimiser, "
            "chain it after optax.clip_by_global_norm(1.0), or raise sigma."
        )
