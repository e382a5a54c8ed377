"""Agreement: a call that depends on nothing traced is the same inside a transformation.

Such a call is made once, while the transformation around it is traced, so that the
answers are equal to the last bit.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fpsolve as fp

GRID = fp.Grid(fp.Line(-6.0, 6.0, 40))
START = fp.Gaussian(0.3, 0.2)
TRAP = fp.FokkerPlanck(lambda x: x[0] ** 2 / 2)
MOVING = fp.FokkerPlanck(lambda x, t: (x[0] - (t > 0.2)) ** 2 / 2)
STIFFENED = fp.Mix(lambda x: x[0] ** 2 / 2, lambda x: x[0] ** 2)


def left(x: Any) -> Any:
    return x[0] < -1


def right(x: Any) -> Any:
    return x[0] > 1


CALLS: dict[str, Callable[[], Any]] = {
    "evolve": lambda: fp.evolve(TRAP, START, [0.2, 1.0], grid=GRID).values,
    "evolve, fitted": lambda: fp.evolve(TRAP, START, [0.2], tol=1e-4).values,
    "evolve, moving": lambda: fp.evolve(MOVING, START, [0.2, 0.5], grid=GRID).values,
    "spectrum": lambda: fp.spectrum(TRAP, GRID, 3).values,
    "spectral_gap": lambda: fp.spectral_gap(TRAP, GRID),
    "correspondence": lambda: fp.correspondence(TRAP, START, [0.2], grid=GRID).wave,
    "committor": lambda: fp.committor(TRAP, GRID, left, right).values,
    "first passage": lambda: fp.mean_first_passage_time(TRAP, GRID, right).values,
    "fit_grid": lambda: jnp.asarray(fp.fit_grid(TRAP, tol=1e-4).shape, float),
    "optimal": lambda: fp.schedule.optimal(STIFFENED, 1.0, grid=GRID).cost_integral,
    "transport": lambda: (
        fp.transport(STIFFENED, fp.schedule.linear(0.5), grid=GRID, tol=1e-5).kl
    ),
}

TRANSFORMATIONS: dict[str, Callable[[Callable[[], Any]], Any]] = {
    "jit": lambda call: jax.jit(lambda y: call() * y)(1.0),
    "vmap": lambda call: jax.vmap(lambda y: call() * y)(jnp.ones(2))[1],
    "grad": lambda call: jax.jacfwd(lambda y: call() * y)(1.0),
    "scan": lambda call: jax.lax.scan(lambda y, _: (y, call() * y), 1.0, None, 2)[1][1],
}


@pytest.mark.parametrize("around", TRANSFORMATIONS)
@pytest.mark.parametrize("name", CALLS)
def test_a_call_that_depends_on_nothing_traced(name: str, around: str) -> None:
    call = CALLS[name]
    np.testing.assert_array_equal(TRANSFORMATIONS[around](call), call())


def test_a_refusal_inside_is_that_of_outside() -> None:
    outside = fp.Gaussian(9.0, 0.01)
    with pytest.raises(ValueError, match="initial"):
        jax.jit(lambda: fp.evolve(TRAP, outside, [0.1], grid=GRID).values)()


def test_a_function_that_closes_over_a_traced_value_belongs_to_the_program() -> None:
    def mean(stiffness: Any) -> Any:
        trap = fp.FokkerPlanck(lambda x: stiffness * x[0] ** 2 / 2)
        solution = fp.evolve(
            trap, START, [0.5], grid=GRID, observables={"x": lambda x: x[0]}
        )
        return solution.observables["x"][0]

    slope = -0.5 * 0.3 * np.exp(-0.5 * 1.3)
    assert abs(jax.jit(mean)(1.3) - 0.3 * np.exp(-0.5 * 1.3)) < 1e-8
    assert abs(jax.jit(jax.grad(mean))(1.3) - slope) < 1e-7


def test_sets_that_close_over_a_traced_value() -> None:
    def middle(edge: Any) -> Any:
        found = fp.committor(
            TRAP, GRID, lambda x: x[0] < -edge, lambda x: x[0] > edge, check=False
        )
        return found.values[22]

    np.testing.assert_allclose(jax.jit(middle)(1.3), middle(1.3), rtol=1e-12)


HIDDEN: dict[str, Callable[[Any], Any]] = {
    "potential": lambda k: fp.spectral_gap(fp.FokkerPlanck(lambda x: k * x[0] ** 2)),
    "initial": lambda k: (
        fp.evolve(TRAP, lambda x: jnp.exp(-k * x[0] ** 2), [0.1]).values
    ),
}


@pytest.mark.parametrize("name", HIDDEN)
def test_a_grid_is_not_fitted_to_a_function_of_a_traced_value(name: str) -> None:
    with pytest.raises(ValueError, match="grid = None: a grid cannot be fitted"):
        jax.jit(HIDDEN[name])(1.0)


def test_a_grid_is_fitted_where_only_an_observable_is_traced() -> None:
    def mean(k: Any) -> Any:
        seen = {"x": lambda x: k * x[0]}
        run = fp.evolve(TRAP, START, [0.5], tol=1e-4, observables=seen)
        return run.observables["x"][0]

    assert abs(jax.jit(mean)(2.0) - 0.6 * np.exp(-0.5)) < 1e-4


MADE: dict[str, Callable[[], Any]] = {
    "Gaussian": lambda: fp.Gaussian([0.3, 0.1], np.eye(2)),
    "FokkerPlanck": lambda: fp.FokkerPlanck(lambda x: x[0] ** 2, [1.0]),
    "Schrodinger": lambda: fp.Schrodinger(lambda x: x[0] ** 2, 0.3),
    "Harmonic": lambda: fp.Harmonic(2.0),
    "DoubleWell": lambda: fp.DoubleWell(2.0),
    "GaussianMixture": lambda: fp.GaussianMixture([[-1.0], [1.0]], [0.1, 0.2]),
    "Sampled": lambda: fp.Sampled(GRID, np.arange(40.0) ** 2),
    "Mix": lambda: fp.Mix(fp.Harmonic(1.0), fp.Harmonic(2.0)),
    "Noising": lambda: fp.Noising(fp.GaussianMixture([[-1.0], [1.0]], [0.1, 0.2])),
    "linear": lambda: fp.schedule.linear(2.0),
    "smooth": lambda: fp.schedule.smooth(2.0, 1),
    "jumping": lambda: fp.schedule.jumping(2.0, 0.1, 0.1),
}


@pytest.mark.parametrize("name", MADE)
def test_what_is_made_of_numbers_inside_is_known(name: str) -> None:
    def inside() -> Any:
        leaves = jax.tree.leaves(MADE[name]())
        assert not any(isinstance(leaf, jax.core.Tracer) for leaf in leaves)
        return jnp.zeros(())

    jax.jit(inside)()
