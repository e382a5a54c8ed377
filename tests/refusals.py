"""The form of an error about an argument, and fields to build bad calls with."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import pytest

import fpsolve as fp

FORM = re.compile(r"\S.* = .*: .+\. [A-Z].+", re.DOTALL)

GRID = fp.Grid(fp.Line(-4.0, 4.0, 16))
PLANE = fp.Grid(fp.Line(-4.0, 4.0, 8), fp.Line(-4.0, 4.0, 9))
HUGE = fp.Grid(*[fp.Line(-1.0, 1.0, 10_000)] * 3)
RING = fp.Grid(fp.Periodic(0.0, 1.0, 12))
WALLS = fp.Grid(fp.Reflecting(-1.0, 1.0, 12))
START = fp.Gaussian(0.0, 0.5)
WELL = fp.FokkerPlanck(fp.Harmonic())
OSCILLATOR = fp.Schrodinger(fp.Harmonic())
PUSHED = fp.FokkerPlanck(fp.Harmonic(), force=lambda x: jnp.sin(x))
UNEVEN = fp.FokkerPlanck(fp.Harmonic(), lambda x: 1 + x[0] ** 2)
MOVING = fp.FokkerPlanck(lambda x, t: (x[0] - t) ** 2 / 2)


def refused(question: Callable[[], Any], *words: str) -> str:
    """Ask, and look at the refusal: a `ValueError` "name = value: what is allowed. What
    to do." that holds `words`.

    The value is shown in one line, and without addresses in memory.
    """
    with pytest.raises(ValueError, match=r": .+\. ") as caught:
        question()
    message = str(caught.value)
    assert FORM.fullmatch(message), message
    assert "\n" not in message, message
    assert " at 0x" not in message, message
    assert [word for word in words if word not in message] == [], message
    return message


def ask(
    equation: Any = WELL,
    initial: Any = START,
    times: Any = (0.5,),
    grid: Any = GRID,
    **options: Any,
) -> Any:
    """`fp.evolve` on a small sound problem, with whatever is made unsound."""
    return fp.evolve(equation, initial, times, grid=grid, **options)


def refused_file(
    run: Callable[..., Any], text: str, here: Path, suffix: str, *words: str
) -> str:
    """The one line that a command says of a file that it refuses; nothing may have been
    written.
    """
    (here / f"p{suffix}").write_text(text, encoding="utf-8")
    before = sorted(path.name for path in here.iterdir())
    done = run(f"p{suffix}", *words)
    assert done.exit_code == 2, done.output
    assert done.output.startswith("error: ") and len(done.output.splitlines()) == 1
    assert (
        sorted(path.name for path in here.iterdir() if path.name != "__pycache__")
        == before
    )
    return done.output
