"""Pictures and films of transports: every curve is there and legible, films are whole
files with a frame a time.

The transports are of Gaussians that are dragged, written down in closed form: their lag
is c (1 - exp(-t)).
"""

import functools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import fpsolve as fp
from fpsolve.anneal.bounds import Bounds
from fpsolve.anneal.counterdiabatic import CounterdiabaticResult
from fpsolve.plot import animate
from refusals import refused

LINE, PLANE = fp.Line(-6.0, 6.0, 64), fp.Line(-5.0, 5.0, 20)
SPEED, TOTAL = 0.4, 5.0


def dragged(d: int, count: int = 11, bound: float | None = 1.2) -> fp.Transport:
    """Carried from -1 to 1 in a harmonic trap; the bound is so many times TV, or there
    is none.
    """
    grid = fp.Grid(*[LINE if d == 1 else PLANE] * d)
    path = lambda lam: fp.Harmonic(center=2 * lam - 1)
    equation = fp.FokkerPlanck(fp.Driven(path, fp.schedule.linear(TOTAL)))
    times = jnp.linspace(0.0, TOTAL, count)
    lag = SPEED * (1 - jnp.exp(-times))
    apart = np.subtract.outer(
        np.asarray(SPEED * times - lag - 1), np.asarray(grid.axes[0].nodes)
    )
    line = np.exp(-(apart**2) / 2) / np.sqrt(2 * np.pi)
    values = functools.reduce(
        lambda p, q: np.einsum("t...,ti->t...i", p, q), [line] * d
    )
    tv = jax.scipy.special.erf(lag * np.sqrt(d / 8))
    rows = np.full(count, np.inf) if bound is None else bound * np.asarray(tv)
    why = {} if bound else {"T15": "T15 needs bounded driving"}
    zero = jnp.zeros_like(times)
    return fp.Transport(
        times=times,
        lambdas=times / TOTAL,
        values=jnp.asarray(values),
        kl=d * lag**2 / 2,
        tv=tv,
        infidelity=zero,
        gap=jnp.ones_like(times),
        work=zero,
        free_energy=zero,
        entropy=zero,
        number_errors={},
        bounds=Bounds({"T16 (Bakry-Émery)": rows}, rows, why),
        equation=equation,
        solution=CounterdiabaticResult(
            times, jnp.asarray(values), zero, *[jnp.zeros((), int)] * 4
        ),
        residual=jnp.zeros(()),
        tol=1e-8,
        grid=grid,
    )


kept = functools.cache(dragged)


def panels(figure: Any) -> list[Any]:
    """The axes that are no colour bars, after a first drawing."""
    figure.draw_without_rendering()
    return [axes for axes in figure.axes if axes.get_label() != "<colorbar>"]


def overlaps(figure: Any) -> list[tuple[str, str]]:
    """Pairs of visible words that lie on each other."""
    from matplotlib.text import Text

    figure.draw_without_rendering()
    beyond = []
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            ticks = [*axis.get_major_ticks(), *axis.get_minor_ticks()]
            beyond += [
                w
                for tick in ticks
                if not low <= tick.get_loc() <= high
                for w in (tick.label1, tick.label2)
            ]
    words = [
        text
        for text in figure.findobj(Text)
        if text.get_visible() and text.get_text().strip()
    ]
    boxes = [
        (text.get_text(), text.get_window_extent())
        for text in words
        if text not in beyond
    ]
    pairs = [(a, b) for i, a in enumerate(boxes) for b in boxes[i + 1 :]]
    return [
        (a[0], b[0])
        for a, b in pairs
        if a[1].shrunk(0.9, 0.8).overlaps(b[1].shrunk(0.9, 0.8))
    ]


def test_a_line_has_its_gap_its_schedule_its_lag_and_five_densities() -> None:
    figure = kept(1).plot()
    gap, lag, *rest = panels(figure)
    schedule = next(axes for axes in rest if axes.get_ylabel().startswith("schedule"))
    densities = [axes for axes in rest if axes is not schedule]
    assert gap.get_yscale() == lag.get_yscale() == "log"
    assert gap.get_ylabel() == "gap Δ (1 / time)"
    np.testing.assert_allclose(schedule.lines[0].get_ydata(), kept(1).lambdas)
    assert [text.get_text() for text in lag.get_legend().get_texts()] == [
        "KL",
        "TV",
        "bound on TV (T16)",
    ]
    for line, row in zip(
        lag.lines, (kept(1).kl, kept(1).tv, kept(1).bound), strict=True
    ):
        np.testing.assert_allclose(line.get_ydata()[1:], np.asarray(row)[1:])
    assert [axes.get_title("left") for axes in densities][::4] == [
        "t = 0   λ = 0.000",
        "t = 5   λ = 1.000",
    ]
    assert len(densities) == 5
    x, pi = densities[-1].lines[0].get_data()
    np.testing.assert_allclose(
        pi, np.exp(-((x - 1) ** 2) / 2) / np.sqrt(2 * np.pi), atol=1e-6
    )
    assert overlaps(figure) == []


def test_words_that_overlap_are_found() -> None:
    figure = kept(1).plot()
    figure.axes[1].text(0.0, 0.1, "here")
    figure.axes[1].text(0.0, 0.1, "and here")
    assert ("here", "and here") in overlaps(figure)


def test_a_bound_that_says_nothing_is_said_and_not_drawn() -> None:
    lag = panels(dragged(1, 3, None).plot())[1]
    assert [text.get_text() for text in lag.get_legend().get_texts()] == [
        "KL",
        "TV",
        "no bound below 1",
    ]


def test_one_time_without_a_process_is_dots_and_a_density() -> None:
    found = dragged(1, 1)
    bare = fp.Transport(**{**vars(found), "equation": None, "gap": None})
    figure = bare.plot()
    _, lag, schedule, density = panels(figure)
    assert [axes.lines[0].get_marker() for axes in (lag, schedule)] == [".", "."]
    assert len(density.lines) == 0 and overlaps(figure) == []


def test_a_plane_has_maps_and_lines_of_equal_gibbs_density() -> None:
    figure = kept(2).plot()
    maps = [axes for axes in panels(figure) if axes.get_title().startswith("t =")]
    assert [axes.get_title() for axes in maps][::3] == [
        "t = 0   λ = 0.000",
        "t = 5   λ = 1.000",
    ]
    assert all(len(axes.collections) == 2 for axes in maps)
    assert maps[0].collections[0].get_clim() == maps[3].collections[0].get_clim()
    assert overlaps(figure) == []


def test_three_dimensions_are_marginals_on_the_first_axis() -> None:
    densities = [
        axes for axes in panels(dragged(3, 3).plot()) if axes.get_title("left")
    ]
    x, pi = densities[-1].lines[0].get_data()
    assert pi @ PLANE.weights == pytest.approx(1, abs=1e-9)
    assert x @ (pi * PLANE.weights) == pytest.approx(1, abs=1e-3)


def frames(path: Path) -> list[np.ndarray]:
    with Image.open(path) as film:
        return [
            np.asarray(film.convert("RGB"))
            for k in range(film.n_frames)
            if film.seek(k) is None
        ]


@pytest.mark.parametrize("d", [1, 2])
def test_a_film_of_a_transport_has_a_frame_for_each_time(
    d: int, tmp_path: Path
) -> None:
    film = tmp_path / "film.gif"
    animate(dragged(d, 3), film, fps=20)
    seen = frames(film)
    assert len(seen) == 3 and not np.array_equal(seen[0], seen[2])
    with Image.open(film) as image:
        assert image.info["duration"] == 50
    assert [path.name for path in tmp_path.iterdir()] == ["film.gif"]


def test_a_film_of_a_density_in_a_potential_at_rest(tmp_path: Path) -> None:
    grid = fp.Grid(fp.Line(-2.5, 2.5, 24))
    well = fp.FokkerPlanck(fp.DoubleWell(2.0))
    run = fp.evolve(
        well,
        fp.Gaussian(-1.0, 0.05),
        [0.0, 0.1],
        grid=grid,
        scheme=fp.ScharfetterGummel(),
        tol=1e-4,
    )
    animate(run, tmp_path / "well.gif")
    run.save(tmp_path / "well.npz")
    animate(fp.load(tmp_path / "well.npz"), tmp_path / "again.gif")
    assert (
        len(frames(tmp_path / "well.gif")) == len(frames(tmp_path / "again.gif")) == 2
    )


def test_what_cannot_be_filmed_is_refused_and_nothing_is_written(
    tmp_path: Path,
) -> None:
    old = tmp_path / "old.gif"
    old.write_bytes(b"old")
    refused(
        lambda: animate(kept(1), tmp_path / "film.mp4"), "path", "it must end in .gif"
    )
    refused(lambda: animate(kept(1), old, fps=0), "fps", "at least 1")
    refused(lambda: animate(kept(1), old, fps=60), "fps", "at most 50")
    spectrum = fp.Record("Spectrum", kept(1).grid, {}, {})
    refused(
        lambda: animate(spectrum, old), "result", "it must be a Transport or a Solution"
    )
    with pytest.raises(ValueError, match="its values are traced"):
        jax.jit(lambda found: animate(found, old))(
            kept(1).__class__(**{**vars(kept(1)), "equation": None})
        )
    assert [path.name for path in tmp_path.iterdir()] == ["old.gif"]
    assert old.read_bytes() == b"old"


@pytest.mark.parametrize("suffix", [".npz", ".nc"])
def test_a_transport_is_saved_and_read_back(tmp_path: Path, suffix: str) -> None:
    transport = kept(2)
    transport.save(tmp_path / f"dragged{suffix}")
    record = fp.load(tmp_path / f"dragged{suffix}")
    assert record.kind == "Transport" and record.grid == transport.grid
    for name in (
        "times",
        "lambdas",
        "values",
        "kl",
        "tv",
        "gap",
        "bound",
        "kl_bound",
        "work",
        "error",
    ):
        np.testing.assert_array_equal(
            record[name], getattr(transport, name), err_msg=name
        )
    assert record.header["bound_by"] == transport.bound_by
    assert record["potential"].shape == record.values.shape
    data = transport.to_xarray()
    assert data.kl.dims == ("time",) and data.attrs["bound_by"] == transport.bound_by
    refused(record.plot, "kind", "before you save it")
