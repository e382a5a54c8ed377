"""Truth: the numbers of a diagnosis against closed forms; what it says; what it
refuses.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fpsolve as fp
from fpsolve.diffusion.particles import draw
from fpsolve.score.diagnose import diagnose

KEY = jax.random.key(3)
MIXTURE = fp.GaussianMixture([[-1.7], [1.7]], 0.8, [0.4, 0.6])


def test_two_modes_on_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    exact = lambda x: -jax.grad(MIXTURE)(x)
    samples = draw(MIXTURE, 4000, KEY)
    found = diagnose(lambda x: 1.1 * exact(x), samples, key=KEY, exact=exact)
    sharper = fp.FokkerPlanck(lambda x: 1.1 * MIXTURE(x))
    assert float(found.gap) == pytest.approx(
        float(fp.spectral_gap(sharper, found.reconstruction.grid)), rel=1e-3
    )
    assert float(found.ground_energy) < 1e-6
    assert found.score_error.value == pytest.approx(
        0.01 * float(jnp.mean(jax.vmap(exact)(samples) ** 2)), rel=1e-6
    )
    assert found.score_error.value < float(found.most) < 1.2 * found.score_error.value
    assert float(found.floor) == pytest.approx(
        np.sqrt(float(found.most) / float(found.gap)) / 2
    )
    grid = found.reconstruction.grid
    data = grid.density(lambda x: jnp.exp(-MIXTURE(x)))
    assert float(
        grid.integrate(jnp.abs(data - found.reconstruction.density))
    ) / 2 < float(found.bound)
    assert np.allclose(found.ends[:, 0], [-1.7, 1.7], atol=0.1)
    assert float(found.shares[1]) == pytest.approx(0.6, abs=0.03)
    said = capsys.readouterr().out
    assert all(
        word in said
        for word in ("gap", "ground energy", "floor", "T8", "bottleneck", "about (-1.")
    )


def test_five_dimensions_along_a_path(capsys: pytest.CaptureFixture[str]) -> None:
    path = fp.Noising(fp.GaussianMixture(2.0 * np.eye(3, 5), 1.0))
    samples = draw(path.mixture, 4000, KEY)
    found = diagnose(path.score, samples, key=KEY, path=path, steps=6, show=False)
    assert capsys.readouterr().out == ""
    assert found.bound is None
    assert found.ground_energy is None
    assert found.lambdas.shape == (7,)
    assert found.lambdas[0] == 1
    assert found.lambdas[-1] == 0
    assert np.all(np.diff(found.lambdas) < 0)
    assert 0.1 < float(found.gap) < 1.0
    assert "upper bound" in str(found)
    assert "schedule" in str(found)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"samples": jnp.full((40, 1), jnp.nan)}, "samples"),
        ({"samples": jnp.ones((3, 1))}, "too few"),
        ({"path": "vp"}, "path"),
        ({"score": lambda x, t: -x}, "path"),
        ({"grid": fp.Grid(fp.Line(-4, 4, 16), fp.Line(-4, 4, 16))}, "grid"),
        ({"steps": 0}, "steps"),
        ({"diffusion": -1.0}, "diffusion"),
        ({"key": 3}, "key"),
        ({"score": lambda x: 0.0 * x + 0.3}, "confine"),
    ],
)
def test_bad_input_is_refused(change: dict, words: str) -> None:
    given = {
        "score": lambda x: -x,
        "samples": jax.random.normal(KEY, (60, 1)),
        "key": KEY,
    } | change
    with pytest.raises(ValueError, match=words):
        diagnose(given.pop("score"), given.pop("samples"), show=False, **given)


def test_pictures_are_drawn() -> None:
    found = diagnose(
        lambda x: x - x**3, jax.random.normal(KEY, (300, 1)), key=KEY, show=False
    )
    assert len(found.plot().axes) == 2 and len(found.reconstruction.plot().axes) == 2


def test_no_floor_is_above_what_a_distance_can_be() -> None:
    samples = draw(fp.GaussianMixture([[0.0]], 1.0), 200, KEY)
    grid = fp.Grid(fp.Line(-5.0, 15.0, 96))
    found = diagnose(
        lambda x: 9.0 - x, samples, key=KEY, exact=lambda x: -x, grid=grid, show=False
    )
    assert float(found.floor) == 1.0 and float(found.bound) == 1.0
    assert "floor            1: at ε² = 81" in str(found)
