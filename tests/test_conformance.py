"""Every public scheme, method and potential passes the checks that users run on theirs,
and planted faults do not.
"""

import inspect
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest
from jaxtyping import Array

import fpsolve as fp
from fpsolve.operator import EdgeOperator, Scheme
from fpsolve.propagate import Propagator
from fpsolve.testing import check_method, check_potential, check_scheme

PUBLIC = {name: getattr(fp, name) for name in fp.__all__}
CLASSES = {
    name: thing
    for name, thing in PUBLIC.items()
    if inspect.isclass(thing) and not inspect.isabstract(thing)
}
NODES = (np.linspace(-2.0, 2.0, 9),)
MADE = {
    "GaussianMixture": (fp.GaussianMixture([[-1.0, 0.0], [1.0, 0.0]], 0.5), 2),
    "Sampled": (fp.Sampled(NODES, NODES[0] ** 4), 1),
    "MullerBrown": (fp.MullerBrown(), 2),
    "Driven": (fp.Driven(fp.Mix(fp.Harmonic(), fp.DoubleWell()), lambda t: t), 2),
}


def potentials() -> dict[str, tuple[Any, int]]:
    """One of each public potential, with a number of dimensions."""
    names = [name for name, thing in CLASSES.items() if issubclass(thing, fp.Potential)]
    return {
        name: MADE[name] if name in MADE else (CLASSES[name](), 2) for name in names
    }


def test_nothing_public_is_passed_over() -> None:
    assert set(MADE) <= set(potentials()) and len(potentials()) >= 8
    assert {name for name, thing in CLASSES.items() if issubclass(thing, Scheme)} >= {
        "Spectral",
        "SquareRoot",
    }


@pytest.mark.parametrize("name", potentials())
def test_public_potentials_conform(name: str) -> None:
    check_potential(*potentials()[name])


def named(kind: Any) -> list[str]:
    """The public classes of a kind by name."""
    return [name for name, thing in CLASSES.items() if issubclass(thing, kind)]


@pytest.mark.parametrize("name", named(Scheme))
def test_public_schemes_conform(name: str) -> None:
    check_scheme(CLASSES[name]())


@pytest.mark.parametrize("name", named(Propagator | fp.Magnus))
def test_public_methods_conform(name: str) -> None:
    check_method(CLASSES[name]())


@pytest.mark.parametrize(
    ("potential", "words"),
    [
        (lambda x: x[0] + x[2], "2 dimensions"),
        (lambda x: x, "scalar"),
        (lambda x: jnp.log(x[0]), "finite"),
        (lambda x: x[0] ** 2 + 0 * jnp.sqrt(jnp.maximum(x[0] - 9, 0.0)), "gradient"),
        (3.0, "callable"),
    ],
)
def test_a_broken_potential_is_caught(potential: Any, words: str) -> None:
    # the point that tells is numpy's
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        _caught(potential, words)
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)


def _caught(potential: Any, words: str) -> None:
    with pytest.raises(AssertionError, match=words):
        check_potential(potential, 2)


class Broken(Scheme):
    """Scharfetter and Gummel's scheme, with a fault."""

    fault: str = eqx.field(static=True)

    def check(self, equation: Any, grid: Any) -> None:
        """Refuse everything, if that is the fault."""
        if self.fault == "refuses":
            raise ValueError("no")

    def sample(self, equation: Any, grid: Any, t: Any, reversible: bool) -> Any:
        """What the whole scheme samples."""
        return fp.ScharfetterGummel().sample(equation, grid, t, reversible)

    def assemble(self, samples: Any, grid: Any, dtype: Any) -> EdgeOperator:
        """The operator, broken."""
        made = fp.ScharfetterGummel().assemble(samples, grid, dtype)
        if self.fault == "mass":
            return eqx.tree_at(
                lambda o: o.potential_term,
                made,
                jnp.full(grid.shape, 0.3),
                is_leaf=lambda x: x is None,
            )
        if self.fault == "negative":
            return eqx.tree_at(
                lambda o: o.potential_term,
                made,
                jnp.full(grid.shape, -0.3),
                is_leaf=lambda x: x is None,
            )
        if self.fault == "root":
            return (
                made
                if made.log_sqrt_pi is None
                else eqx.tree_at(lambda o: o.log_sqrt_pi, made, made.log_sqrt_pi + 0.1)
            )
        if self.fault == "balance":
            return eqx.tree_at(
                lambda o: o.up, made, tuple(1.2 * rates for rates in made.up)
            )
        return made


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("refuses", "rejects every"),
        ("mass", "ground state"),
        ("negative", "negative eigenvalue"),
        ("root", "mass of exp"),
        ("balance", "ground state|sqrt"),
    ],
)
def test_a_broken_scheme_is_caught(fault: str, words: str) -> None:
    with pytest.raises(AssertionError, match=words):
        check_scheme(Broken(fault))


class Lazy(Propagator):
    """exp to first order, or with a fault in what it says of it."""

    fault: str = eqx.field(static=True)

    def unsupported(self, kind: Any) -> Any:
        """Takes everything."""
        return None

    def cost(self, kind: Any, work: Any) -> float:
        """As `Dense`."""
        return fp.Dense().cost(kind, work)

    def keeps(self, spectral: bool) -> Any:
        """As `Dense`."""
        return fp.Dense().keeps(spectral)

    def prepare(self, operator: Any, picture: Any) -> Any:
        """What `Dense` prepares."""
        return fp.Dense().prepare(operator, picture)

    def apply(
        self, prepared: Any, field: Array, lengths: Array, tol: Array, wick: float
    ) -> Any:
        """A step, broken."""
        step = fp.Dense().apply(prepared, field, lengths, tol, wick)
        if self.fault == "error":
            return step._replace(error=jnp.full_like(step.error, 1.0))
        if self.fault == "constant":
            return step._replace(field=step.field.at[-1].multiply(1.001))
        return fp.Dense().apply(prepared, field, 0.99 * lengths, tol, wick)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("error", "tolerance_not_reached"),
        ("constant", "The error is"),
        ("late", "The error is"),
    ],
)
def test_a_broken_method_is_caught(fault: str, words: str) -> None:
    with pytest.raises(AssertionError, match=words):
        check_method(Lazy(fault))


def test_what_is_no_scheme_or_method_is_caught() -> None:
    with pytest.raises(AssertionError, match="no instance"):
        check_scheme(fp.Dense())
    with pytest.raises(AssertionError, match="no instance"):
        check_method(fp.Spectral())
