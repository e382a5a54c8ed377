"""`fpsolve verify`, `run`, `anneal` and `bench`. Parses, calls, prints; no mathematics.

Exit status: 0 success; 1 a claim fails, a control passes, a run fails numerically, or a
solver misses the error stated for it; 2 invalid input, or a package that is missing.
"""

import functools
import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import jax
import numpy as np

from ..core.compilation_cache import cache_of_command
from ..core.result import NumericalFailure
from ..theorem import verify
from .anneal import anneal_file
from .benchmark import run_benchmark
from .console import console
from .evolution import run_file
from .verification import verify_all

if TYPE_CHECKING:
    from typer import Typer
else:  # imported where the commands are made
    Typer = Any

MISSING = 'The command line needs {}: pip install "fpsolve[cli]"'


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
        # No options that change the user's shell.
        add_completion=False,
        # The traceback of a defect is the plain one, which can be sent as a report.
        pretty_exceptions_enable=False,
    )

    # Runs before each command.
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
        # Not a lambda: it is sent to other processes.
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
        # An option that was not given leaves what the file says.
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
        # `--quick` is an option of the kernels alone.
        name = "accelerator" if device or small else "kernels"
        given = {
            "--small": small,
            "--cores": cores,
            "--quick": name == "kernels" and not full,
        }
        words = [word for word, chosen in given.items() if chosen]
        # An option that was not given is None.
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
    # Errors of the input. Any other is a defect, and is shown with its traceback.
    except (ValueError, OSError, ImportError) as error:
        console(error=True).print(f"error: {error}", soft_wrap=True)
        return 2


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
