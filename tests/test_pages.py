"""Numbers of every length through one program, entry by entry."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fpsolve.core.pages import PAGE, by_pages


@pytest.mark.parametrize("shape", [(), (1,), (PAGE,), (2, 700), (3, 1, PAGE)])
def test_entries_keep_their_places(shape: tuple[int, ...]) -> None:
    numbers = np.linspace(0.0, 1.0, int(np.prod(shape))).reshape(shape)
    lengths = set()

    def both(page: jax.Array) -> tuple[jax.Array, None, jax.Array]:
        lengths.add(page.shape)
        return page**2, None, -page

    square, none, minus = by_pages(both, numbers)
    assert none is None and square.shape == minus.shape == shape
    assert np.array_equal(square, numbers**2) and np.array_equal(minus, -numbers)
    assert lengths == {(PAGE,)}


def test_what_a_function_hides_may_be_traced() -> None:
    slope = jax.grad(lambda a: jnp.sum(by_pages(lambda page: a * page, np.arange(5.0))))(2.0)
    assert float(slope) == 10
