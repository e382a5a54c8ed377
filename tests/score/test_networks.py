"""Networks: Gaussian before training, smooth, confining for all parameters, accepted by
every public function.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array

import fpsolve as fp
from fpsolve.potential import takes_time
from fpsolve.score.constants import CONSTANTS
from fpsolve.score.fields import as_score
from fpsolve.score.learn.networks import EnergyNetwork, VectorNetwork, standardised
from fpsolve.score.learn.training import trainable
from fpsolve.score.noise_path import NoisePath
from fpsolve.testing import check_potential
from refusals import refused

KEY = jax.random.key(4)
SMALL: dict[str, Any] = {
    "key": KEY,
    "width": 8,
    "depth": 2,
    "center": [1.0, -2.0],
    "scale": [0.5, 2.0],
}
PATHS = {"vp": NoisePath("vp"), "ve": NoisePath("ve", sigma_max=5.0)}


def shaken(model: Any, size: float = 1.0) -> Any:
    """The model with parameters drawn anew, large."""
    parameters, rest = trainable(model)
    leaves, form = jax.tree.flatten(parameters)
    keys = jax.random.split(jax.random.key(9), len(leaves))
    drawn = [
        size * jax.random.normal(key, leaf.shape, leaf.dtype)
        for key, leaf in zip(keys, leaves, strict=True)
    ]
    return eqx.combine(jax.tree.unflatten(form, drawn), rest)


@pytest.mark.parametrize("kind", [EnergyNetwork, VectorNetwork])
def test_before_training_the_score_is_that_of_a_gaussian(kind: Any) -> None:
    """Truth, at rest and along both paths: N(αc, α²ℓ² + σ²)."""
    x = jnp.asarray([0.7, 0.2])
    center = jnp.asarray([1.0, -2.0])
    scale = jnp.asarray([0.5, 2.0])
    np.testing.assert_allclose(
        kind(2, **SMALL).score(x), -(x - center) / scale**2, rtol=1e-12
    )
    for path in PATHS.values():
        model = kind(2, timed=True, path=path, **SMALL)
        alpha = path.alpha(0.4)
        variance = path.sigma(0.4) ** 2
        expected = -(x - alpha * center) / (alpha**2 * scale**2 + variance)
        np.testing.assert_allclose(model.score(x, 0.4), expected, rtol=1e-12)
        for lam in (0.0, CONSTANTS.lambda_min):  # finite at the end without noise
            np.testing.assert_allclose(
                shaken(model).score(x, lam),
                shaken(model).score(x, CONSTANTS.lambda_min),
                rtol=1e-12,
            )


def test_a_linear_tail_starts_from_the_density_of_hydrogen() -> None:
    """Truth: exp(-2r) in three dimensions has unit variances and the score -2 x/r, but
    for the soft core.
    """
    model = EnergyNetwork(3, key=KEY, width=8, tail="linear")
    x = jnp.asarray([1.0, -2.0, 2.0])
    np.testing.assert_allclose(model.score(x), -2 * x / 3, rtol=1e-3)


@pytest.mark.parametrize("tail", ["quadratic", "linear"])
def test_an_energy_confines_whatever_its_parameters(tail: str) -> None:
    """Truth: U grows in all directions, linearly at its rate or quadratically."""
    model = shaken(EnergyNetwork(2, tail=tail, **SMALL))
    angles = jnp.linspace(0, 6.2, 12)
    directions = jnp.stack([jnp.cos(angles), jnp.sin(angles)], axis=1)
    along = lambda r: jax.vmap(lambda v: model(r * v))(directions)
    growth = np.log2(
        np.asarray(
            (along(2.0**22) - along(2.0**21)) / (along(2.0**21) - along(2.0**20))
        )
    )
    np.testing.assert_allclose(growth, 2 if tail == "quadratic" else 1, atol=1e-3)
    assert np.all(np.asarray(along(2.0**21)) > 0)


def test_a_vector_field_points_inwards_whatever_its_parameters() -> None:
    still = shaken(VectorNetwork(2, **SMALL))
    timed = shaken(VectorNetwork(2, timed=True, **SMALL))
    for field in (still, lambda x: timed(x, 0.5)):
        points = 1e6 * jax.random.normal(KEY, (20, 2))
        assert bool(jnp.all(jax.vmap(lambda x, f=field: x @ f(x))(points) < 0))


def test_energies_are_potentials() -> None:
    check_potential(shaken(EnergyNetwork(2, **SMALL), 0.5), 2)
    check_potential(shaken(EnergyNetwork(2, timed=True, **SMALL), 0.5), 2, lower=0.1)


def test_spectral_schemes_converge_on_an_energy() -> None:
    """Order: a shaken energy is smooth enough for spectral accuracy."""
    model = shaken(EnergyNetwork(1, key=KEY, width=8, depth=2), 0.4)
    gaps = [
        float(fp.spectral_gap(fp.FokkerPlanck(model), fp.Grid(fp.Line(-10.0, 10.0, n))))
        for n in (24, 32, 64)
    ]
    errors = np.abs(np.asarray(gaps[:2]) / gaps[2] - 1)
    assert errors[1] < 1e-9
    assert errors[1] < 1e-2 * errors[0]


def test_networks_have_leaves_that_are_trained_and_others() -> None:
    model = EnergyNetwork(2, timed=True, **SMALL)
    free, rest = trainable(model)
    assert all(
        leaf is None
        for leaf in jax.tree.leaves(
            (free.center, free.scale, free.path), is_leaf=lambda x: x is None
        )
    )
    # center, scale, β_min, β_max
    assert len(jax.tree.leaves(eqx.filter(rest, eqx.is_array))) == 4
    slope = jax.grad(
        lambda c: eqx.tree_at(lambda m: m.center.value, model, c)(jnp.ones(2), 0.3)
    )(jnp.ones(2))
    np.testing.assert_array_equal(slope, 0)


def test_the_score_of_anything() -> None:
    x = jnp.asarray([0.5, 1.5])
    np.testing.assert_allclose(as_score(fp.Harmonic(2.0))(x), -2 * x)
    np.testing.assert_allclose(as_score(lambda x: -3 * x)(x), -3 * x)
    moving = fp.Driven(
        fp.Moved(fp.Harmonic(), jnp.asarray([1.0, 0.0])), lambda t: 2 * t
    )
    np.testing.assert_allclose(as_score(moving)(x, 1.0), jnp.asarray([2.0, 0.0]) - x)
    path = fp.Noising(fp.GaussianMixture([[0.0, 0.0]], 1.0))
    np.testing.assert_allclose(as_score(path)(x, 0.3), -x, rtol=1e-12)
    for kind in (EnergyNetwork, VectorNetwork):
        still = as_score(kind(2, **SMALL))
        timed = as_score(kind(2, timed=True, **SMALL))
        assert not takes_time(still) and takes_time(timed) and as_score(still) is still
        assert still(x).shape == timed(x, 0.5).shape == (2,)
    refused(lambda: as_score(3.0), "score", "function")


def test_both_networks_pass_the_doors() -> None:
    """Agreement: one Gaussian, as an energy and as a field, has the rates 1/ℓ²."""
    grid = fp.Grid(fp.Line(-4.0, 6.0, 48))
    given: dict[str, Any] = {"key": KEY, "width": 8, "center": 1.0, "scale": 0.8}
    equations = (
        fp.FokkerPlanck(EnergyNetwork(1, **given)),
        fp.FokkerPlanck(force=as_score(VectorNetwork(1, **given))),
    )
    for equation in equations:
        assert float(fp.spectral_gap(equation, grid)) == pytest.approx(
            1 / 0.64, rel=1e-3
        )


def test_single_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    jax.config.update("jax_enable_x64", False)
    for kind in (EnergyNetwork, VectorNetwork):
        value = kind(2, timed=True, **SMALL).score(jnp.ones(2), 0.0)
        assert value.dtype == jnp.float32 and bool(jnp.all(jnp.isfinite(value)))


def test_samples_give_center_and_scale() -> None:
    samples = jnp.asarray([3.0, -1.0]) + jnp.asarray([0.1, 4.0]) * jax.random.normal(
        KEY, (4000, 2)
    )
    found = standardised(samples)
    np.testing.assert_allclose(found["center"], [3.0, -1.0], atol=0.3)
    np.testing.assert_allclose(found["scale"], [0.1, 4.0], rtol=0.05)
    refused(
        lambda: standardised(samples.at[:, 1].set(2.0)), "coordinate 1", "never changes"
    )
    refused(lambda: standardised(samples.at[5, 0].set(jnp.inf)), "samples[5, 0]")


BAD: list[tuple[Any, tuple[str, ...]]] = [
    ({"width": 0}, ("width",)),
    ({"key": 3.0}, ("key",)),
    ({"depth": 1.5}, ("depth",)),
    ({"scale": -1.0}, ("scale", "positive")),
    ({"center": [1.0, 2.0, 3.0]}, ("center", "(2,)")),
    ({"timed": "yes"}, ("timed",)),
    ({"path": "vp"}, ("path", "timed=True")),
    ({"timed": True, "path": "vp2"}, ("vp",)),
]


@pytest.mark.parametrize(("given", "words"), BAD)
def test_bad_networks_are_refused(
    given: Any, words: tuple[str, ...], nothing_is_computed: None
) -> None:
    for kind in (EnergyNetwork, VectorNetwork):
        refused(lambda kind=kind: kind(2, **{**SMALL, **given}), *words)


def test_other_bad_arguments_are_refused(nothing_is_computed: None) -> None:
    refused(lambda: EnergyNetwork(0, key=KEY), "dim")
    refused(lambda: EnergyNetwork(2, key=KEY, tail="cubic"), "tail", "quadratic")
    refused(lambda: EnergyNetwork(2, key=KEY, timed=True, tail="linear"), "tail")
    refused(lambda: EnergyNetwork(2, **SMALL)(jnp.ones(3)), "(2,)")
    refused(lambda: VectorNetwork(2, timed=True, **SMALL)(jnp.ones(2)), "t = None")
    refused(lambda: NoisePath("vp", sigma_max=2.0), "sigma_max")


def test_a_field_that_pushes_outwards_is_seen() -> None:
    """A planted fault: without its tail the network fails the test of confinement
    above.
    """
    model = shaken(VectorNetwork(2, **SMALL))
    free = eqx.tree_at(lambda m: m.log_stiffness, model, jnp.full(2, -jnp.inf))
    points: Array = 1e6 * jax.random.normal(KEY, (20, 2))
    assert not bool(jnp.all(jax.vmap(lambda x: x @ free(x))(points) < 0))
