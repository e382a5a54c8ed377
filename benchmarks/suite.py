"""Every problem of the kernel benchmark, with its solvers and the error that each must
reach.

Parameters are the cheapest that reach the stated error with a small margin, found by a
scan: boxes as small as sqrt(pi) allows (in a wider box the potential term at the edge
is larger, and so is every cost), and as few nodes, steps or digits as the error allows.
fpsolve has other boxes, wide enough for a contraction to few modes of each axis. Its
rows time one compiled solve (`jax.jit`). A row "call by call" times `fp.evolve`, which
reads and samples the functions each time.
"""

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any

import by_hand
import by_hand_ground
import jax
import jax.numpy as jnp
import numpy as np
import peers
import problems
from contenders import (
    Contest,
    grid_of,
    hand,
    moving_methods,
    nothing_chosen,
    ours,
    peer,
    spectral_methods,
    volume_methods,
)
from harness import Contender
from problems import Problem

import fpsolve as fp


def box(*halves: float) -> tuple[tuple[float, float], ...]:
    """A box around the origin."""
    return tuple((-half, half) for half in halves)


P1 = Problem("P1", 1, 1.0, box(2.2), (48,), box(2.8), (128,))
P2 = Problem("P2", 2, 1.0, box(2.2, 3.8), (48, 34), box(2.7, 4.8), (120, 84))
P3 = Problem(
    "P3", 3, 0.1, box(2.2, 3.4, 3.4), (56, 39, 39), box(2.7, 4.6, 4.6), (112, 84, 84)
)
P5_LINE = Problem("P5 1-D", 1, 10.0, box(2.2), (48,), box(2.6), (96,), "moving")
P5_PLANE = Problem(
    "P5 2-D", 2, 10.0, box(2.2, 4.2), (48, 36), box(2.6, 4.6), (80, 60), "moving"
)
P6 = Problem("P6", 2, 0.0, box(2.8, 3.6), (32, 24), box(3.4, 4.6), (96, 72), "ground")
DELIVERED = (512, 512)


def line_coarse(contest: Contest, quick: bool) -> Iterator[Contender]:
    """P1 to 1e-4. The cells of fplanck are those that t = 1 needs, at both times; at
    t = 50 fewer would suffice.
    """
    late = contest.problem.t > 1
    yield from nothing_chosen(contest, box(2.0), (30,), tol=1e-5)
    yield from spectral_methods(contest, box(2.0), (30,), tol=1e-5)
    yield from volume_methods(contest, box(1.9), (160,), tol=1e-5)
    yield hand(contest, "sinc, eigh", by_hand.sinc_eigh, box(1.9), (28,))
    yield hand(
        contest,
        "volumes, rational",
        by_hand.volumes_rational,
        box(1.9),
        (160,),
        order=6,
    )
    yield peer(contest, "fplanck", "dense", peers.fplanck, box(1.9), (168,), True)
    if not quick or not late:
        yield peer(
            contest, "fplanck", "default", peers.fplanck, box(1.9), (168,), False
        )
    if late:
        yield peer(
            contest,
            "fplanck",
            "dense, fewest cells",
            peers.fplanck,
            box(1.9),
            (24,),
            True,
        )
    if late and not quick:
        yield peer(
            contest,
            "fplanck",
            "default, fewest cells",
            peers.fplanck,
            box(1.9),
            (24,),
            False,
        )
    if not quick:
        yield peer(
            contest, "py-pde", "LSODA", peers.py_pde, box(1.9), (400,), "LSODA", 1e-6
        )


def line_fine(contest: Contest, quick: bool) -> Iterator[Contender]:
    """P1 to 1e-8."""
    bounds, shape = box(2.1), (48,)
    yield from nothing_chosen(contest, bounds, shape)
    yield from spectral_methods(contest, bounds, shape)
    yield hand(contest, "sinc, eigh", by_hand.sinc_eigh, bounds, shape)
    yield hand(contest, "sinc, Chebyshev", by_hand.sinc_chebyshev, bounds, shape)
    yield peer(contest, "diffrax", "Bosh3", peers.diffrax, bounds, shape, "Bosh3", 1e-5)
    yield peer(contest, "diffrax", "Tsit5", peers.diffrax, bounds, shape, "Tsit5", 1e-5)
    yield peer(contest, "QuTiP", "expm", peers.qutip, bounds, shape, "expm")
    yield peer(contest, "QuTiP", "sesolve, diag", peers.qutip, bounds, shape, "diag")
    if not quick:
        yield peer(
            contest,
            "diffrax",
            "Kvaerno5",
            peers.diffrax,
            bounds,
            shape,
            "Kvaerno5",
            1e-8,
        )
        yield peer(
            contest, "QuTiP", "sesolve, lsoda", peers.qutip, bounds, shape, "lsoda"
        )


def plane(contest: Contest, quick: bool) -> Iterator[Contender]:
    """P2 to 1e-8."""
    bounds = box(2.1, 3.6)
    shape = (48, 34)
    wide = box(2.2, 4.0)
    yield from nothing_chosen(contest, wide, shape, ranks=(28, 12))
    yield from spectral_methods(contest, wide, shape)
    yield hand(contest, "sinc, Chebyshev", by_hand.sinc_chebyshev, bounds, shape)
    yield peer(contest, "diffrax", "Bosh3", peers.diffrax, bounds, shape, "Bosh3", 1e-5)
    yield peer(contest, "diffrax", "Tsit5", peers.diffrax, bounds, shape, "Tsit5", 1e-5)
    yield peer(contest, "exponax", "ETDRK4", peers.exponax, box(2.2, 3.8), 48, 1000)
    if not quick:
        yield peer(
            contest, "exponax", "ETDRK3", peers.exponax, box(2.2, 3.8), 48, 1500, 3
        )


def plane_delivered(contest: Contest, quick: bool) -> Iterator[Contender]:
    """P2 on 512 x 512 points to 5e-5."""
    yield ours(
        contest, "fpsolve", box(2.2, 4.0), (48, 34), fine=DELIVERED, ranks=(28, 12)
    )
    if not quick:
        yield hand(
            contest,
            "FFT Strang, Richardson",
            by_hand.fft_strang,
            box(2.1, 3.6),
            DELIVERED,
            steps=103,
        )


def space(contest: Contest, quick: bool) -> Iterator[Contender]:
    """P3 to 1e-8."""
    bounds = box(2.1, 3.3, 3.3)
    shape = (48, 36, 36)
    wide = box(2.15, 3.4, 3.4)
    yield from nothing_chosen(contest, wide, shape, ranks=(28, 36, 36))
    yield from spectral_methods(contest, wide, shape)
    yield hand(
        contest,
        "sinc, Chebyshev",
        by_hand.sinc_chebyshev,
        box(2.1, 3.4, 3.4),
        (46, 36, 36),
    )
    yield peer(contest, "diffrax", "Tsit5", peers.diffrax, bounds, shape, "Tsit5", 1e-5)
    yield peer(contest, "exponax", "ETDRK4", peers.exponax, box(2.2, 3.0, 3.0), 48, 125)


def path_line(contest: Contest, quick: bool) -> Iterator[Contender]:
    """P5 on a line."""
    yield from moving_methods(contest, box(2.4), (52,), 1e-7, steps=6)
    yield hand(
        contest,
        "sinc Strang, 3 levels",
        by_hand.sinc_strang,
        box(2.1),
        (40,),
        steps=1700,
    )
    yield hand(
        contest,
        "sinc Strang, 4 levels",
        by_hand.sinc_strang,
        box(2.1),
        (40,),
        steps=620,
        levels=4,
    )
    yield peer(
        contest, "diffrax", "Bosh3", peers.diffrax, box(2.1), (40,), "Bosh3", 1e-5
    )
    yield peer(
        contest, "diffrax", "Tsit5", peers.diffrax, box(2.1), (40,), "Tsit5", 1e-5
    )


def path_plane(contest: Contest, quick: bool) -> Iterator[Contender]:
    """P5 on a plane, to 1e-7 or 1e-8: the numpy steps are those that just reach it."""
    bounds = box(2.1, 3.6)
    shape = (40, 32)
    fine = contest.goal < 5e-8
    # Tolerances and steps just reach the error.
    yield from moving_methods(
        contest,
        box(2.35, 4.0),
        (48, 32),
        2e-7 if fine else 1e-6,
        steps=6 if fine else 4,
    )
    three, four = (1700, 620) if fine else (1150, 440)
    yield hand(
        contest,
        "sinc Strang, 3 levels",
        by_hand.sinc_strang,
        bounds,
        shape,
        steps=three,
    )
    yield hand(
        contest,
        "sinc Strang, 4 levels",
        by_hand.sinc_strang,
        bounds,
        shape,
        steps=four,
        levels=4,
    )
    yield peer(contest, "diffrax", "Bosh3", peers.diffrax, bounds, shape, "Bosh3", 1e-5)
    yield peer(contest, "diffrax", "Tsit5", peers.diffrax, bounds, shape, "Tsit5", 1e-5)


def ground(contest: Contest, quick: bool) -> Iterator[Contender]:
    """P6: the density of the lowest level. FFT splitting as it is commonly written, and
    with extrapolation.
    """
    # FFTs are fast for small prime factors
    bounds = box(2.8, 3.6)
    shape = (28, 22)
    even = (32, 24)
    grid = grid_of(bounds, shape)
    potential = contest.problem.potential
    # The depth is an argument, because a compiled function without arguments is
    # evaluated by the compiler.
    levels = lambda depth: fp.spectrum(
        fp.Schrodinger(lambda x: depth * potential(x)), grid, 1
    )
    compiled = jax.jit(levels)
    depth = jnp.ones(())

    def run(solve: Any) -> Any:
        answer = solve(depth)
        return answer.vectors, answer

    density = lambda answer: np.asarray(jnp.square(answer[0][0]))
    notes = lambda answer: {**answer[1].stats, "level": float(answer[1].values[0])}
    parameters = {"nodes": list(shape), "box": bounds}
    axes = problems.open_axes(bounds, shape)
    for label, solve in (("fpsolve", compiled), ("fpsolve, call by call", levels)):
        yield Contender(
            label,
            "fpsolve",
            functools.partial(run, solve),
            density,
            axes,
            parameters,
            contest.goal,
            notes,
        )
    yield hand(
        contest, "sinc, Lanczos", by_hand_ground.sinc_lanczos, bounds, shape, count=56
    )
    yield hand(
        contest,
        "FFT Strang, 4 levels",
        by_hand_ground.fft_ground,
        bounds,
        even,
        steps=80,
        time=7.0,
        levels=4,
    )
    if not quick:
        yield hand(
            contest,
            "FFT Strang",
            by_hand_ground.fft_ground,
            bounds,
            even,
            steps=110_000,
            time=7.0,
            levels=1,
        )


CONTESTS = (
    Contest("P1 t=1, 1e-4", P1, 1e-4, True, line_coarse),
    Contest("P1 t=50, 1e-4", dataclasses.replace(P1, t=50.0), 1e-4, True, line_coarse),
    Contest("P1 t=1, 1e-8", P1, 1e-8, True, line_fine),
    Contest("P1 t=50, 1e-8", dataclasses.replace(P1, t=50.0), 1e-8, False, line_fine),
    Contest("P2 1e-8", P2, 1e-8, True, plane),
    Contest("P2 delivered, 5e-5", P2, 5e-5, False, plane_delivered),
    Contest("P3 1e-8", P3, 1e-8, False, space),
    Contest("P5 1-D, 1e-8", P5_LINE, 1e-8, True, path_line),
    Contest("P5 2-D, 1e-7", P5_PLANE, 1e-7, False, path_plane),
    Contest("P5 2-D, 1e-8", P5_PLANE, 1e-8, False, path_plane),
    Contest("P6 1e-8", P6, 1e-8, False, ground),
)
