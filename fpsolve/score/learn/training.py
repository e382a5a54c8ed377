"""Training as a state and a step: minibatches, an optimiser, a running average, and a folder that keeps them.

    θ_(k+1) = θ_k + update( ∇ mean_batch J(s_θ) )
    a_(k+1) = a_k + (1 - ε_k)(θ_(k+1) - a_k),      ε_k = min(ε, (1 + k)/(10 + k))

Step k draws everything from `fold_in(key, k)`, so that a run in pieces is the run in one piece, bit for bit.

Reference: Polyak and Juditsky, SIAM J. Control Optim. 30 (1992) 838 (averages of the iterates).
"""

import hashlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ...core.checks import raise_value_error
from ...core.files import write_atomically
from ...solve.checkpoint import check_folder
from ..fields import as_score
from .error import places
from .losses import denoising, implicit, noising, sliced
from .networks import Fixed

CHUNK = 200  # steps between two looks at the loss
ROWS = 512  # samples at once where all are asked
COUNTS = (0, 1, 10, 100, 1000, 10_000, 100_000)  # steps at which optimisers are compared


class Objective(eqx.Module):
    """Which J is minimised: `loss` by name, with `sigma` or `path` and `quantile` where it is "denoising"."""

    loss: str = eqx.field(static=True)
    sigma: Any = None
    path: Any = None
    quantile: Callable[[Array], Any] | None = None

    def __call__(self, model: Any, x: Array, key: Array) -> Array:
        """The mean of J over the batch x `(b, d)`."""
        score: Any = as_score(model)
        first, second = jax.random.split(key)
        if self.loss == "implicit":
            return jnp.mean(jax.vmap(lambda x: implicit(score, x))(x))
        if self.loss == "sliced":
            signs = jax.random.rademacher(first, x.shape, x.dtype)
            return jnp.mean(jax.vmap(lambda x, v: sliced(score, x, v))(x, signs))
        noise = jax.random.normal(first, x.shape, x.dtype)
        if self.path is None:
            return jnp.mean(jax.vmap(lambda x, z: denoising(score, x, z, self.sigma))(x, noise))
        lam = places(second, len(x), x.dtype)
        lam = lam if self.quantile is None else jnp.asarray(self.quantile(lam), x.dtype)
        alpha, sigma = (jnp.asarray(f(lam), x.dtype) for f in (self.path.alpha, self.path.sigma))
        return jnp.mean(jax.vmap(lambda *each: noising(score, *each))(x, noise, lam, alpha, sigma))


class Training(eqx.Module):
    """Where a training stands: after `step` steps the parameters, their average, the optimiser's state, the J of the
    last `CHUNK` steps at most."""

    parameters: Any
    average: Any
    optimiser: Any
    step: Array
    losses: Array


def trainable(model: Any) -> tuple[Any, Any]:
    """The parameters of a model, every array of floats that is not `Fixed`, and the rest."""
    free = lambda leaf: not isinstance(leaf, Fixed) and bool(eqx.is_inexact_array(leaf))
    return eqx.partition(model, jax.tree.map(free, model, is_leaf=lambda leaf: isinstance(leaf, Fixed)))


def begin(parameters: Any, optimiser: Any) -> Training:
    """The state before the first step."""
    losses = jnp.zeros(CHUNK, jnp.result_type(*jax.tree.leaves(parameters)))
    return Training(parameters, parameters, optimiser.init(parameters), jnp.asarray(0, jnp.int32), losses)


@eqx.filter_jit
def advance(
    state: Training, rest: Any, objective: Objective, samples: Array, key: Array, optimiser: Any, batch: int, ema: Any,
    count: Array,
) -> Training:  # fmt: skip
    """The state `count` steps later, at most `CHUNK`."""

    def step(k: Array, state: Training) -> Training:
        first, second = jax.random.split(jax.random.fold_in(key, state.step))
        x = samples[jax.random.randint(first, (batch,), 0, len(samples))]
        loss = lambda parameters: objective(eqx.combine(parameters, rest), x, second)
        value, slope = jax.value_and_grad(loss)(state.parameters)
        change, kept = optimiser.update(slope, state.optimiser, state.parameters)
        parameters = jax.tree.map(lambda p, u: p + u.astype(p.dtype), state.parameters, change)
        keep = jnp.minimum(ema, (1 + state.step) / (10 + state.step))
        average = jax.tree.map(lambda a, p: a + (1 - keep).astype(p.dtype) * (p - a), state.average, parameters)
        losses = state.losses.at[k].set(value.astype(state.losses.dtype))
        return Training(parameters, average, kept, state.step + 1, losses)

    return jax.lax.fori_loop(0, count, step, state)


@eqx.filter_jit
def mean_loss(model: Any, objective: Objective, samples: Array, key: Array) -> Array:
    """The mean of J over all samples, `ROWS` at a time; what is left over is left out."""
    rows = min(ROWS, len(samples))
    parts = samples[: len(samples) // rows * rows].reshape(-1, rows, samples.shape[1])
    keys = jax.random.split(key, len(parts))
    return jnp.mean(jax.lax.map(lambda each: objective(model, *each), (parts, keys)))


class TrainingCheckpoint:
    """A folder with the last state of one training. **Raises** `ValueError` if the folder holds another problem."""

    def __init__(self, folder: Any, mine: dict[str, str]):
        self.folder = check_folder(folder)
        header = self.folder / "problem.json"
        if header.exists():
            theirs = json.loads(header.read_text())
            different = sorted(name for name in mine | theirs if theirs.get(name) != mine.get(name))
            if different:
                allowed = f"it holds another problem, which differs in {', '.join(different)}"
                raise_value_error(
                    "checkpoint", str(folder), allowed, "Give an empty folder, or the same call as before."
                )
        else:
            write_atomically(header, lambda file: file.write(json.dumps(mine, indent=2).encode()))

    @property
    def _file(self) -> Path:
        return self.folder / "training.npz"

    def load(self, state: Training) -> tuple[Training, np.ndarray]:
        """The state kept, of the form of `state`, and the J of every step until then; `state` itself if none is."""
        if not self._file.exists():
            return state, np.zeros(0)
        leaves, form = jax.tree.flatten(state)
        with np.load(self._file, allow_pickle=False) as kept:
            held = [_as(leaf, kept[f"leaf_{k}"]) for k, leaf in enumerate(leaves)]
            return jax.tree.unflatten(form, held), kept["history"]

    def save(self, state: Training, history: np.ndarray) -> None:
        """Keep the state and the J of every step until now, in place of what was kept before."""
        arrays: dict[str, Any] = {f"leaf_{k}": _raw(leaf) for k, leaf in enumerate(jax.tree.leaves(state))}
        write_atomically(self._file, lambda file: np.savez(file, history=history, **arrays))


def fingerprint(
    model: Any, objective: Objective, samples: Array, key: Array, optimiser: Any, **numbers: Any
) -> dict[str, str]:
    """What shapes a training, by name: the model by its parameters and its losses, the optimiser by what it does."""
    parameters, rest = trainable(model)
    value, slope = _first_loss(parameters, rest, objective, samples[:8], key)
    start, time_dependent = optimiser.init(parameters), []
    whole = lambda leaf: eqx.is_array(leaf) and leaf.ndim == 0 and jnp.issubdtype(leaf.dtype, jnp.integer)
    for count in COUNTS:
        then = jax.tree.map(lambda leaf, n=count: jnp.full_like(leaf, n) if whole(leaf) else leaf, start)
        time_dependent.append(optimiser.update(slope, then, parameters)[0])
    return {
        "model": _digest(parameters, jax.tree.structure(model).num_leaves),
        "loss": f"{objective.loss} {_digest(value)}",
        "samples": f"{samples.dtype} {samples.shape} {_digest(samples)}",
        "key": _digest(key),
        "optimiser": _digest(time_dependent),
        **{name: repr(value) for name, value in numbers.items()},
    }


@eqx.filter_jit
def _first_loss(parameters: Any, rest: Any, objective: Objective, samples: Array, key: Array) -> tuple[Array, Any]:
    return jax.value_and_grad(lambda p: objective(eqx.combine(p, rest), samples, key))(parameters)


def _digest(*trees: Any) -> str:
    buffer = io.BytesIO()
    for leaf in jax.tree.leaves(trees):
        buffer.write(f"{jnp.shape(leaf)}".encode() + _raw(leaf).tobytes())
    return hashlib.sha256(buffer.getvalue()).hexdigest()[:16]


def _raw(leaf: Any) -> np.ndarray:
    leaf = jnp.asarray(leaf)
    return np.asarray(jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf)


def _as(leaf: Any, kept: np.ndarray) -> Array:
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(jnp.asarray(kept), impl=jax.random.key_impl(leaf))
    return jnp.asarray(kept, leaf.dtype)
