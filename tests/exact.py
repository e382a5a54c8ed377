"""Every solvable system, by name. A system offers

    equation            what is solved
    grid(n[, kind])     a box that holds it, of n nodes an axis
    density(grid, t)    the exact density (or wave)
    spectrum(k)         the k lowest levels, where known

Its physical numbers are array leaves, so `gradient` differentiates the exact formula
with respect to any of them, and two instances of one class share their compiled
programs.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

import fpsolve as fp
from exact_line import (
    Lognormal,
    Oscillator,
    PoeschlTeller,
    PrescribedGap,
    Swirl,
    rotated,
)
from exact_moving import Dragged, Loosened, Shaken, Wave
from exact_walls import Absorbed, Product, Ring, Walls


def _make(cls: Any, *numbers: Any, **settings: Any) -> Any:
    return cls(
        *(None if number is None else jnp.asarray(number) for number in numbers),
        **settings,
    )


def still() -> dict[str, Any]:
    """The systems that stand still and have a density."""
    coupled = [[2.0, 0.6, 0.0], [0.6, 1.5, 0.3], [0.0, 0.3, 1.2]]
    oscillator = _make(Oscillator, [[1.3]], [0.2], 0.8, [1.0], [[0.4]])
    walls = _make(Walls, 0.7, 1.1, [0.2, 0.1, -0.05])
    ring = _make(Ring, 0.7, None, 2.0, 0.3)
    return {
        "oscillator": oscillator,
        "oscillator 2-D, rotated": _make(
            Oscillator,
            rotated([2.0, 1.0], 0.5),
            [0.1, -0.2],
            0.9,
            [0.8, -0.5],
            [[0.4, 0.1], [0.1, 0.5]],
        ),
        "oscillator 3-D, coupled": _make(
            Oscillator,
            coupled,
            [0.0, 0.0, 0.0],
            1.0,
            [0.5, -0.4, 0.2],
            0.5 * np.eye(3),
            half=6.5,
        ),
        "oscillator 2-D, diffusion per axis": _make(
            Oscillator,
            np.diag([1.5, 1.0]),
            [0.0, 0.0],
            [1.0, 0.6],
            [0.5, -0.5],
            [[0.4, 0.0], [0.0, 0.4]],
        ),
        "oscillator 2-D, coupled, diffusion per axis": _make(
            Oscillator,
            rotated([2.0, 1.0], 0.5),
            [0.0, 0.0],
            [1.0, 0.6],
            [0.5, -0.5],
            0.4 * np.eye(2),
        ),
        "swirl": _make(Swirl, 1.0, 2.0, 0.5, [1.0, 0.5], 0.3),
        "poeschl-teller": _make(PoeschlTeller, 6.0, 1.0, 0.5),
        "lognormal (ito)": _make(Lognormal, 1.0, 0.06, 0.4, 0.04),
        "ring": ring,
        "ring, pushed": _make(Ring, 0.7, 2.0, 2.0, 0.3),
        "walls": walls,
        "walls, force": _make(Walls, 0.7, 1.1, [0.2, 0.1, -0.05], as_force=True),
        "absorbed": _make(Absorbed, 0.7, 0.0, [1.0, 0.3]),
        "absorbed, pushed": _make(Absorbed, 0.7, 1.1, [1.0, 0.3]),
        "absorbed, force": _make(Absorbed, 0.7, 1.1, [1.0, 0.3], as_force=True),
        "ring x walls": Product(ring, walls),
        "walls x absorbed": Product(walls, _make(Absorbed, 0.7, 0.0, [1.0, 0.3])),
        "ring, pushed x absorbed": Product(
            _make(Ring, 0.7, 2.0, 2.0, 0.3), _make(Absorbed, 0.7, 1.1, [1.0, 0.3])
        ),
    }


def moving() -> dict[str, Any]:
    """The systems whose potential moves."""
    return {
        "dragged": _make(Dragged, 1.2, 0.8, 0.7, 0.3, 0.4),
        "shaken": _make(Shaken, 1.2, 0.9, 2.0, 0.7, 0.3, 0.4),
        "loosened": _make(Loosened, 1.5, 1.0, 0.6, 0.5, 0.4),
    }


def waves() -> dict[str, Any]:
    """Waves in imaginary time, in real time, and between."""
    return {
        "wave, imaginary time": _make(Wave, 1.1, 0.5, 1.0),
        "wave, real time": _make(Wave, 1.1, 0.5, 1.0, wick=np.pi / 2),
        "wave, between": _make(Wave, 1.1, 0.5, 1.0, wick=0.6),
    }


def prescribed() -> PrescribedGap:
    """The double well of theory's family E3."""
    return _make(PrescribedGap, 1.0, 1.5, 1.0, 1.0)


def gradient(system: Any, name: str, grid: fp.Grid, t: Any) -> Array:
    """The exact derivative of the density with respect to the parameter `name` (a
    number): (*shape).
    """
    value = getattr(system, name)
    replace = lambda v: eqx.tree_at(lambda s: getattr(s, name), system, v)
    return jax.jvp(
        lambda v: replace(v).density(grid, t), (value,), (jnp.ones_like(value),)
    )[1]
