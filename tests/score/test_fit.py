"""Training: what it finds where the best is known, the same bits again, and what it
refuses.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jaxtyping import Array

import fpsolve as fp
from fpsolve.diffusion.particles import draw
from fpsolve.score.fields import as_score
from fpsolve.score.learn.error import score_error
from fpsolve.score.learn.fit import fit
from fpsolve.score.learn.networks import EnergyNetwork, VectorNetwork, standardised
from fpsolve.score.noise_path import NoisePath
from refusals import refused

KEY = jax.random.key(7)
ADAM = optax.adam(1e-2)  # one object, one compilation
COVARIANCE = jnp.asarray([[1.0, 0.6], [0.6, 0.8]])
MEAN = jnp.asarray([1.0, -0.5])


class Linear(eqx.Module):
    """x -> -K x + b."""

    stiffness: Array
    shift: Array

    def __call__(self, x: Array) -> Array:
        """The score."""
        return self.shift - self.stiffness @ x


@pytest.fixture(scope="module")
def samples() -> Array:
    return MEAN + jax.random.normal(KEY, (4000, 2)) @ jnp.linalg.cholesky(COVARIANCE).T


def small(key: Array = KEY, **options: Any) -> EnergyNetwork:
    """A network that compiles fast."""
    return EnergyNetwork(2, key=key, width=8, depth=1, center=MEAN, **options)


def trained(samples: Any, model: Any = None, **options: Any) -> tuple[Any, np.ndarray]:
    """A short training, with whatever is made otherwise."""
    given: dict[str, Any] = {"optimiser": ADAM, "steps": 30, "key": KEY, "batch": 64}
    return fit(small() if model is None else model, samples, **{**given, **options})


def leaves(model: Any) -> list[np.ndarray]:
    return [
        np.asarray(leaf) for leaf in jax.tree.leaves(eqx.filter(model, eqx.is_array))
    ]


@pytest.mark.parametrize(
    ("loss", "sigma"), [("denoising", 0.5), ("implicit", None), ("sliced", None)]
)
def test_a_linear_score_is_found(
    loss: str, sigma: float | None, samples: Array
) -> None:
    """Truth: K is the inverse of the covariance of the samples, plus σ² where there is
    noise.
    """
    start = Linear(jnp.eye(2), jnp.zeros(2))
    optimiser = optax.adam(optax.cosine_decay_schedule(0.05, 600))
    model, history = fit(
        start,
        samples,
        optimiser=optimiser,
        steps=600,
        key=KEY,
        loss=loss,
        sigma=sigma,
        batch=256,
    )
    best = jnp.linalg.inv(
        jnp.cov(samples.T) + (0.0 if sigma is None else sigma**2) * jnp.eye(2)
    )
    np.testing.assert_allclose(model.stiffness, best, atol=0.12)
    np.testing.assert_allclose(model.shift, best @ jnp.mean(samples, axis=0), atol=0.12)
    assert history.shape == (600,)
    exact = lambda x: best @ (jnp.mean(samples, axis=0) - x)
    errors = jax.vmap(lambda x: start(x) - exact(x))(samples)
    before = jnp.mean(jnp.sum(errors**2, 1))
    assert float(np.mean(history[:3])) == pytest.approx(float(before), rel=0.8)
    # E|s - s_p|², with the noise of batches
    assert abs(float(np.mean(history[-200:]))) < 0.25


def test_two_modes_are_found_with_their_curvature() -> None:
    """Truth, small: a mixture at an unusual place; more training gives far better
    figures below.
    """
    mixture = fp.GaussianMixture([[-1.3, 0.4], [1.1, -0.2]], 0.5, [0.4, 0.6])
    x = draw(mixture, 8000, KEY)
    start = EnergyNetwork(2, key=KEY, width=16, **standardised(x))
    energy, _ = fit(start, x, optimiser=ADAM, steps=400, key=KEY, batch=256, ema=0.98)
    exact = lambda x: -jax.grad(mixture)(x)
    error = lambda model: score_error(model, x[:2000], key=KEY, exact=exact).value
    assert error(energy) < 0.06
    assert error(energy) < 0.08 * error(start)


@pytest.mark.parametrize("kind", [EnergyNetwork, VectorNetwork])
def test_a_score_along_a_path_is_found(kind: Any) -> None:
    """Truth: of a mixture under noise, at every λ."""
    mixture = fp.GaussianMixture([[-1.5], [1.5]], 0.3)
    path = fp.Noising(mixture, "vp")
    x = draw(mixture, 4000, KEY)
    start = kind(1, key=KEY, width=16, timed=True, path=path, **standardised(x))
    model, history = fit(
        start, x, optimiser=ADAM, steps=300, key=KEY, batch=256, ema=0.98
    )
    error = lambda model: (
        score_error(model, x, key=KEY, path=path, exact=path.score).value
    )
    assert error(model) < 0.25 * error(start)
    assert history.shape == (300,) and np.all(np.isfinite(history))


def test_the_same_key_gives_the_same_bits(samples: Array) -> None:
    first, second = trained(samples), trained(samples)
    assert all(
        np.array_equal(a, b)
        for a, b in zip(leaves(first[0]), leaves(second[0]), strict=True)
    )
    np.testing.assert_array_equal(first[1], second[1])
    other = trained(samples, key=jax.random.key(8))
    assert not np.array_equal(first[1], other[1])


def test_without_an_average_the_last_parameters_come_back(samples: Array) -> None:
    average, last = trained(samples, steps=5)[0], trained(samples, steps=5, ema=None)[0]
    assert not all(
        np.array_equal(a, b) for a, b in zip(leaves(average), leaves(last), strict=True)
    )
    decayed = trained(samples, optimiser=optax.adamw(1e-2, weight_decay=1.0))[0]
    # what is fixed does not decay
    np.testing.assert_array_equal(decayed.center.value, small().center.value)


def test_a_fit_resumes_to_the_same_bits(samples: Array, tmp_path: Path) -> None:
    """An interrupted fit, and one that asks for more steps, in two and three pieces."""
    whole = trained(samples, steps=240)
    folder = tmp_path / "run"
    trained(samples, steps=170, checkpoint=folder)
    trained(samples, steps=201, checkpoint=str(folder))
    pieces = trained(samples, steps=240, checkpoint=folder)
    assert all(
        np.array_equal(a, b)
        for a, b in zip(leaves(whole[0]), leaves(pieces[0]), strict=True)
    )
    np.testing.assert_array_equal(whole[1], pieces[1])
    again = trained(samples, steps=240, checkpoint=folder)
    np.testing.assert_array_equal(again[1], whole[1])
    assert sorted(file.name for file in folder.iterdir()) == [
        "problem.json",
        "training.npz",
    ]
    refused(lambda: trained(samples, steps=20, checkpoint=folder), "steps", "240")


CHANGED: dict[str, tuple[dict[str, Any], str]] = {
    "rate": ({"optimiser": optax.adam(2e-2)}, "optimiser"),
    "schedule": (
        {"optimiser": optax.adam(optax.cosine_decay_schedule(1e-2, 50_000))},
        "optimiser",
    ),
    "loss": ({"loss": "implicit"}, "loss"),
    "noise": ({"sigma": 0.2}, "loss"),
    "batch": ({"batch": 65}, "batch"),
    "average": ({"ema": None}, "ema"),
    "key": ({"key": jax.random.key(8)}, "key"),
    "network": ({"model": small(jax.random.key(1))}, "model"),
}


def test_a_folder_of_another_problem_is_refused(samples: Array, tmp_path: Path) -> None:
    trained(samples, steps=2, checkpoint=tmp_path)
    for options, word in CHANGED.values():
        refused(
            lambda given=options: trained(
                samples, steps=4, checkpoint=tmp_path, **given
            ),
            "another problem",
            word,
        )
    refused(
        lambda: trained(samples[1:], steps=4, checkpoint=tmp_path),
        "another problem",
        "samples",
    )
    file = tmp_path / "file"
    file.write_text("")
    refused(lambda: trained(samples, checkpoint=file), "folder")
    header = json.loads((tmp_path / "problem.json").read_text())
    assert set(header) >= {"model", "loss", "samples", "key", "optimiser"}


def test_a_training_that_diverges_says_when(samples: Array) -> None:
    with pytest.raises(fp.NumericalFailure, match=r"not_finite: .* step \d+.* Lower"):
        trained(
            samples,
            Linear(jnp.eye(2), jnp.zeros(2)),
            optimiser=optax.sgd(1e3),
            steps=300,
        )


def test_progress_is_shown(samples: Array, capsys: pytest.CaptureFixture[str]) -> None:
    trained(samples, steps=3, progress=True)
    assert "3/3" in capsys.readouterr().err


def test_a_partial_and_single_precision_can_be_trained(samples: Array) -> None:
    field = jax.tree_util.Partial(lambda k, x: -k * x, jnp.ones(2, jnp.float32))
    model, history = trained(samples, field, steps=3)
    assert model.args[0].dtype == jnp.float32 and history.shape == (3,)
    assert not np.array_equal(model.args[0], field.args[0])


TIMED: dict[str, Any] = {"model": small(timed=True)}
BAD: list[tuple[dict[str, Any], tuple[str, ...]]] = [
    ({"loss": "explicit"}, ("loss", "implicit")),
    ({"loss": 3}, ("loss",)),
    ({"steps": 0}, ("steps",)),
    ({"batch": -1}, ("batch",)),
    ({"optimiser": 1e-3}, ("optimiser", "optax")),
    ({"ema": 1.5}, ("ema",)),
    ({"key": 3.0}, ("key",)),
    ({"sigma": 0.0}, ("sigma", "positive")),
    ({"sigma": 0.1, "loss": "sliced"}, ("sigma", "denoising")),
    ({"path": "vp"}, ("no time", "timed=True")),
    ({"quantile": lambda u: u}, ("quantile",)),
    ({**TIMED, "loss": "implicit"}, ("loss", "denoising")),
    ({**TIMED, "path": "ve"}, ("another path",)),
    ({**TIMED, "sigma": 0.1}, ("sigma",)),
    ({"model": jax.tree_util.Partial(lambda k, x, t: -k * x, jnp.ones(2))}, ("path",)),
    ({"model": lambda x: -x}, ("float", "train")),
    ({"model": 3.0}, ("score",)),
    (
        {"model": jax.tree_util.Partial(lambda k, x: jnp.sum(k * x), jnp.ones(2))},
        ("()", "(2,)"),
    ),
    (
        {"model": jax.tree_util.Partial(lambda k, x: k * jnp.log(x), jnp.ones(2))},
        ("finite", "256 points"),
    ),
    ({"checkpoint": 3}, ("checkpoint",)),
]


@pytest.mark.parametrize(("options", "words"), BAD)
def test_bad_trainings_are_refused(
    options: dict[str, Any], words: tuple[str, ...], samples: Array
) -> None:
    refused(lambda: trained(samples, **options), *words)


def test_bad_samples_are_refused(samples: Array) -> None:
    ask: Callable[..., str] = lambda x, *words: refused(lambda: trained(x), *words)
    ask(samples[:10], "10 are too few", "16")
    ask(samples[:, 0], "(n, d)")
    ask(
        samples.at[11, 1].set(jnp.nan).at[40, 0].set(jnp.inf),
        "samples[11, 1]",
        "2 of 4000",
    )
    ask("samples", "real numbers")
    ask(samples.at[:, 1].set(1.0), "never changes")
    ask(jax.random.normal(KEY, (30, 3)), "(2,)")


def density_error(
    mixture: fp.GaussianMixture, seed: int, options: dict[str, Any]
) -> tuple[float, float]:
    """TV between exp(-U)/Z of a trained energy and the truth, and E|s - s_p|²."""
    first, second, third, fourth = jax.random.split(jax.random.key(seed), 4)
    x = draw(mixture, 50_000, first)
    model = EnergyNetwork(2, key=second, **standardised(x))
    energy, _ = fit(model, x, key=third, batch=512, **options)
    grid = fp.Grid(fp.Line(-9.0, 9.0, 100), fp.Line(-7.0, 7.0, 80))
    apart = jnp.abs(fp.FokkerPlanck(energy).gibbs(grid) - grid.density(mixture.density))
    exact = lambda x: -jax.grad(mixture)(x)
    return float(grid.integrate(apart)) / 2, score_error(
        energy, draw(mixture, 20_000, fourth), key=KEY, exact=exact
    ).value


@pytest.mark.parametrize("means", [[[-1.4, 1.1], [1.9, -0.6]]])
def test_the_density_of_two_modes(means: Any) -> None:
    """Truth, at full size and on modes elsewhere."""
    options: dict[str, Any] = {
        "optimiser": optax.adam(optax.cosine_decay_schedule(2e-3, 3000)),
        "steps": 3000,
    }
    distance, error = density_error(fp.GaussianMixture(means, 1.0), 5, options)
    assert distance < 0.03
    assert error < 0.02


def test_a_wrong_divergence_would_be_seen(
    samples: Array, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A planted fault: with + 2 div s turned into - 2 div s the implicit fit turns
    outwards.
    """
    from fpsolve.score.learn import training

    right = training.implicit
    wrong = lambda score, x: 2 * jnp.sum(score(x) ** 2) - right(score, x)
    monkeypatch.setattr(training, "implicit", wrong)
    options: dict[str, Any] = {
        "optimiser": optax.adam(0.05),
        "steps": 150,
        "loss": "implicit",
    }
    turned, _ = trained(samples, Linear(jnp.eye(2) + 0.01, jnp.zeros(2)), **options)
    assert float(jnp.trace(turned.stiffness)) < 0.5
    assert as_score(turned)(MEAN).shape == (2,)


def test_ve_paths_train(samples: Array) -> None:
    model = VectorNetwork(
        2,
        key=KEY,
        width=8,
        timed=True,
        path=NoisePath("ve", sigma_max=4.0),
        **standardised(samples),
    )
    _, history = trained(samples, model, quantile=lambda u: u**2)
    assert np.all(np.isfinite(history))
