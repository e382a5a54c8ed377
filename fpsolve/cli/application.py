"""`fpsolve verify`, `run`, `anneal` and `bench`. Parses, calls, prints; no mathematics.

Exit status: 0 success; 1 a claim fails, a control passes, a run fails numerically, or a
solver misses the error stated for it; 2 invalid input, or a package that is missing.
"""

import functools
import io
import os
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from runpy import run_path
from typing import TYPE_CHECKING, Annotated, Any

import jax
import numpy as np

from ..core.checks import raise_value_error
from ..core.compilation_cache import cache_of_command
from ..core.files import write_atomically
from ..core.result import NumericalFailure
from ..core.types import Scalar
from ..solve.correspondence import correspondence
from ..solve.evolve import evolve
from ..theorem import verify
from .anneal import Trial, best, compare, summary, trials, write_table
from .console import console, new_table
from .problem import Problem, read_annealing, read_problem
from .verification import verify_all

if TYPE_CHECKING:
    from typer import Typer
else:  # imported where the commands are made
    Typer = Any

MISSING = 'The command line needs {}: pip install "fpsolve[cli]"'
SUFFIXES = (".npz", ".nc")
PICTURES = (".png", ".pdf", ".svg")


def main() -> None:
    """The command `fpsolve`."""
    # Double precision, whatever the environment says: theorems and tolerances need it.
    jax.config.update("jax_enable_x64", True)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without √ shows ?
    try:
        app = application()
    except ImportError as error:
        print(MISSING.format(error.name), file=sys.stderr)
        raise SystemExit(2) from None
    app()


def application() -> Typer:
    """The `typer` application. **Raises** `ImportError` without typer or rich."""
    import rich.console  # noqa: F401  # every command prints with it: a missing rich is reported at once
    import typer

    app = typer.Typer(
        help="Fokker-Planck densities and their imaginary-time Schrödinger waves.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )

    @app.callback()
    def start(
        no_cache: Annotated[
            bool,
            typer.Option(
                "--no-cache", help="Compile every program anew and keep none on disk."
            ),
        ] = False,
    ) -> None:
        jax.config.update("jax_enable_x64", True)
        # The option is read before any program is compiled.
        if no_cache:
            jax.config.update("jax_enable_compilation_cache", False)

    @app.command(
        "verify",
        help=(
            "Measure every theorem and its control; exit 0 only if all hold and all "
            "are refused."
        ),
    )
    def verify_command(
        only: Annotated[
            list[str] | None,
            typer.Option(help="A claim by name; give it again for more."),
        ] = None,
        json_file: Annotated[
            Path | None,
            typer.Option("--json", help="Write the certificates to this file."),
        ] = None,
        report: Annotated[
            Path | None,
            typer.Option(help="Write a page, index.html, into this folder."),
        ] = None,
        quick: Annotated[
            bool,
            typer.Option(
                "--quick", help="Small grids only: seconds instead of minutes."
            ),
        ] = False,
        grid_factor: Annotated[
            float, typer.Option(help="Grids this many times as fine, at least 1.")
        ] = 1.0,
        seed: Annotated[int, typer.Option(help="Seed of the random cases.")] = 0,
        file: Annotated[
            Path | None,
            typer.Option(help="Theorems of your own: a .py that makes some."),
        ] = None,
        list_only: Annotated[
            bool, typer.Option("--list", help="Name the claims and stop.")
        ] = False,
    ) -> None:
        measure = functools.partial(
            verify, refine=not quick, grid_factor=grid_factor, seed=seed
        )
        command = lambda: verify_all(
            tuple(only or ()), file, list_only, measure, json_file, report
        )
        raise typer.Exit(cached(command))

    @app.command(
        "run",
        help=(
            "Evolve a potential of your own: FILE.py defines it, FILE.toml names one "
            "of the library."
        ),
    )
    def run_command(
        file: Annotated[Path, typer.Argument(help="FILE.py or FILE.toml")],
        out: Annotated[
            Path | None,
            typer.Option(help="Result, .npz or .nc. [default: FILE's name, .npz]"),
        ] = None,
        plot: Annotated[
            Path | None,
            typer.Option(help="Picture, .png, .pdf or .svg. [default: as --out, .png]"),
        ] = None,
        times: Annotated[
            str | None, typer.Option(help="Output times, such as 0.1,1.0.")
        ] = None,
        tol: Annotated[
            float | None, typer.Option(help="Relative error in time.")
        ] = None,
        scheme: Annotated[
            str | None, typer.Option(help="Spectral, ScharfetterGummel or SquareRoot.")
        ] = None,
        method: Annotated[
            str | None,
            typer.Option(help="Chebyshev, Rational, Magnus, ...: see README."),
        ] = None,
        force: Annotated[
            bool, typer.Option("--force", help="Overwrite existing files.")
        ] = False,
    ) -> None:
        chosen = {
            "times": _times(times),
            "tol": tol,
            "scheme": scheme,
            "method": method,
        }
        overrides = {name: value for name, value in chosen.items() if value is not None}
        raise typer.Exit(cached(lambda: run_file(file, out, plot, overrides, force)))

    @app.command(
        "anneal",
        help=(
            "Find the best schedule along a path: FILE.py defines path, or start and "
            "end; FILE.toml names these."
        ),
    )
    def anneal_command(
        file: Annotated[Path, typer.Argument(help="FILE.py or FILE.toml")],
        total: Annotated[
            float | None,
            typer.Option(help="Time that the path takes. [default: by its gap]"),
        ] = None,
        diffusion: Annotated[float | None, typer.Option(help="D. [default: 1]")] = None,
        cost: Annotated[
            str | None,
            typer.Option(
                help=(
                    "bound, score, wasserstein or exact. [default: try all, take the "
                    "best]"
                )
            ),
        ] = None,
        out: Annotated[
            Path | None,
            typer.Option(help="Schedule, .csv. [default: FILE's name, .csv]"),
        ] = None,
        plot: Annotated[
            Path | None,
            typer.Option(help="Picture, .png, .pdf or .svg. [default: as --out, .png]"),
        ] = None,
        force: Annotated[
            bool, typer.Option("--force", help="Overwrite existing files.")
        ] = False,
    ) -> None:
        chosen = {"total": total, "diffusion": diffusion, "cost": cost}
        overrides = {name: value for name, value in chosen.items() if value is not None}
        raise typer.Exit(cached(lambda: anneal_file(file, out, plot, overrides, force)))

    @app.command(
        "bench",
        help=(
            "Time the kernels against numpy by hand and other packages; exit 0 if "
            "errors are as stated."
        ),
    )
    def bench_command(
        full: Annotated[
            bool, typer.Option("--full", help="Every problem: minutes instead of one.")
        ] = False,
        only: Annotated[
            list[str] | None,
            typer.Option(help="Problems that begin so, as P2; give it again."),
        ] = None,
        out: Annotated[
            Path | None, typer.Option(help="Rows, .json; the picture goes beside it.")
        ] = None,
        cores: Annotated[
            bool, typer.Option("--cores", help="Use every core, not one.")
        ] = False,
        device: Annotated[
            bool,
            typer.Option(
                "--device", help="The rows of an accelerator, beside its limits."
            ),
        ] = False,
        small: Annotated[
            bool, typer.Option("--small", help="Those rows small, on any device.")
        ] = False,
    ) -> None:
        name = "accelerator" if device or small else "kernels"
        given = {
            "--small": small,
            "--cores": cores,
            "--quick": name == "kernels" and not full,
        }
        words = [word for word, chosen in given.items() if chosen]
        raise typer.Exit(guarded(lambda: run_benchmark(name, words, only or [], out)))

    return app


def cached(command: Callable[[], int]) -> int:
    """As `guarded`, with compiled programs kept on disk. Not for `bench`, which
    measures how long compilation takes.
    """
    if warning := cache_of_command():
        console(error=True).print(warning, soft_wrap=True)
    return guarded(command)


def guarded(command: Callable[[], int]) -> int:
    """The exit status of a command; an error is printed as one line."""
    try:
        return command()
    except NumericalFailure as failure:
        console(error=True).print(f"failed: {failure}", soft_wrap=True)
        return 1
    except (ValueError, OSError, ImportError) as error:
        console(error=True).print(f"error: {error}", soft_wrap=True)
        return 2


def run_file(
    path: Path,
    out: Path | None,
    plot: Path | None,
    overrides: dict[str, Any],
    force: bool,
) -> int:
    """Evolve the problem in a file; print a summary, write the result and a picture."""
    # Everything that can fail early is checked before the run: the problem, the files,
    # the packages.
    problem = read_problem(path, overrides)
    out = Path(f"{path.stem}.npz") if out is None else out
    picture, no_picture = _check_targets(out, plot, SUFFIXES, force)
    if out.suffix == ".nc" and (
        missing := _missing("io", "h5netcdf") or _missing("io", "xarray")
    ):
        raise ImportError(f"--out: {missing}")
    screen = console()
    for note in problem.notes:
        screen.print(f"note: {note}")
    solution = evolve(
        problem.equation,
        problem.initial,
        problem.times,
        grid=problem.grid,
        scheme=problem.scheme,
        method=problem.method,
        tol=problem.tol,
        progress=sys.stderr.isatty(),
    )
    # An independent check of the answer: density and wave on one grid.
    agreement, agrees = _agreement(problem)
    stats = solution.stats
    minimum = f"{stats['min_density']:.3e}"
    if stats["min_density"] < 0:
        minimum += ", the most negative density at any time"
    rows = {
        "grid": repr(problem.grid),
        "scheme": stats["scheme"],
        "method": stats["method"],
        "times": ", ".join(f"{t:.6g}" for t in _few(np.asarray(solution.times))),
        "mass": (
            f"{float(solution.mass[-1]):.12g} at the last time, drift at most "
            f"{stats['mass_drift']:.1e}"
        ),
        "minimum": minimum,
        "error in time": f"{float(np.max(np.asarray(solution.error))):.1e}, relative L1, estimated",
        "correspondence": agreement,
        "result": str(out),
    }
    # The result first: a failing plot does not lose it.
    solution.save(out)
    rows["picture"] = f"none: {no_picture}" if no_picture else _draw(solution, picture)
    _print_rows(rows)
    return 0 if agrees else 1


def anneal_file(
    path: Path,
    out: Path | None,
    plot: Path | None,
    overrides: dict[str, Any],
    force: bool,
) -> int:
    """Run every schedule along the path in a file; print how near to Gibbs each ends,
    write the best one and its picture.
    """
    problem = read_annealing(path, overrides)
    out = Path(f"{path.stem}.csv") if out is None else out
    picture, no_picture = _check_targets(out, plot, (".csv",), force)
    found: list[Trial] = []
    with console(error=True).status("the gap along the path") as status:
        for trial in trials(problem):
            found.append(trial)
            status.update(f"{len(found)} schedules done, the last: {trial.name}")
    table = new_table(
        "schedule",
        "KL at the end",
        "TV",
        "TV at most",
        "by",
        "KL, linear / this",
        "gain predicted",
    )
    for row in compare(found):
        table.add_row(*row)
    console().print(table)
    chosen = best(found, problem.cost)
    rows = summary(problem, chosen) | {"schedule": f"{chosen.name}: {out}"}
    write_table(chosen, out)
    rows["picture"] = (
        f"none: {no_picture}" if no_picture else _draw(chosen.transport, picture)
    )
    _print_rows(rows)
    return 0


def run_benchmark(
    name: str, words: list[str], only: list[str], out: Path | None
) -> int:
    """Run a file of `benchmarks/`, a folder of the repository that is not installed
    with the package.
    """
    # Beside the package where it is installed from a clone, or in the current folder.
    places = [
        Path(__file__).resolve().parents[2] / "benchmarks",
        Path.cwd() / "benchmarks",
    ]
    folder = next((place for place in places if (place / f"{name}.py").is_file()), None)
    if folder is None:
        allowed = (
            f"the benchmarks lie in the repository, and {name}.py is in neither this "
            "folder nor the package's"
        )
        cure = "Clone the repository and give `fpsolve bench` in its folder."
        raise_value_error("bench", str(places[-1]), allowed, cure)
    if missing := _missing("bench", "scipy"):
        raise ImportError(f"bench: {missing}")
    if out is not None:
        _check_target("--out", out, (".json",), force=True)
    arguments = [*words, *(["--only", *only] if only else [])]
    arguments += ["--print-only"] if out is None else ["--out", str(out.absolute())]
    return run_path(str(folder / f"{name}.py"), run_name=name)["main"](arguments)


def _agreement(problem: Problem) -> tuple[str, bool]:
    """The correspondence on the same grid by finite volumes, in words, and whether it
    holds where it exists.
    """
    # Without a Gibbs density there is no correspondence to measure.
    reason = problem.equation.irreversible_because(problem.grid)
    if reason is not None:
        return f"none, because {reason}", True
    try:
        # Only the difference of the two sides is reported here.
        both = correspondence(
            problem.equation,
            problem.initial,
            problem.times,
            grid=problem.grid,
            check=False,
        )
    except (ValueError, NumericalFailure) as error:
        return f"not measured: {error}", True
    verdict = "holds" if both.holds else "does NOT hold"
    size = float(np.max(np.asarray(both.difference)))
    return (
        f"{verdict}: p and √π ψ differ by at most {size:.1e} (relative L1, finite "
        "volumes)",
        both.holds,
    )


def _draw(result: Any, picture: Path) -> str:
    """Write the figure of a result, and return the name of the file."""
    figure = result.plot()
    form = picture.suffix.removeprefix(".")
    write_atomically(picture, lambda file: figure.savefig(file, format=form, dpi=150))
    return str(picture)


def _print_rows(rows: dict[str, str]) -> None:
    """Print names and values in two columns."""
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True, style="bold")
    table.add_column(overflow="fold")
    for name, value in rows.items():
        table.add_row(name, value)
    console().print(table)


def _check_targets(
    out: Path, plot: Path | None, suffixes: tuple[str, ...], force: bool
) -> tuple[Path, str]:
    """The file of the picture, and why there can be none, or "". **Raises**
    `ValueError` for files that could not be written, `ImportError` for a picture that
    was requested without matplotlib.
    """
    picture = plot or out.with_suffix(".png")
    no_picture = _missing("plot", "matplotlib")
    if plot is not None and no_picture:
        raise ImportError(f"--plot: {no_picture}")
    _check_target("--out", out, suffixes, force)
    if not no_picture:
        _check_target("--plot", picture, PICTURES, force)
    return picture, no_picture


def _check_target(
    option: str, path: Path, suffixes: tuple[str, ...], force: bool
) -> None:
    """Raise `ValueError`, before anything is computed, for a file that could not be
    written at the end.
    """
    if path.suffix not in suffixes:
        allowed = f"it must end in {' or '.join(suffixes)}"
        raise_value_error(
            option, str(path), allowed, f"Name it result{suffixes[0]}, say."
        )
    if path.exists() and not force:
        raise_value_error(
            option,
            str(path),
            "this file exists",
            "Give another name, or --force to overwrite it.",
        )
    # Folders that do not exist yet are made: the first that exists must be writable.
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    if path.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        raise_value_error(
            option,
            str(path),
            "it cannot be written there",
            "Give a file in a folder of yours.",
        )


def _missing(extra: str, package: str) -> str:
    """How to install a package that is missing, or "" if it is there."""
    return (
        ""
        if find_spec(package)
        else f'{package} is not installed: pip install "fpsolve[{extra}]"'
    )


def _times(text: str | None) -> np.ndarray | str | None:
    """Times as numbers; a text that is none is returned as it is, for `evolve` to
    reject by name.
    """
    if text is None:
        return None
    try:
        return np.asarray([float(word) for word in text.replace(",", " ").split()])
    except ValueError:
        return text


def _few(times: np.ndarray) -> list[Scalar]:
    """At most eight times: the first four and the last four of more."""
    return list(times) if len(times) <= 8 else [*times[:4], *times[-4:]]
