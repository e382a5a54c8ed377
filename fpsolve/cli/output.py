"""The files that a command writes, examined before anything is computed, and its
pictures.
"""

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..core.checks import raise_value_error
from ..core.files import write_atomically

PICTURES = (".png", ".pdf", ".svg")


def check_targets(
    out: Path, plot: Path | None, suffixes: tuple[str, ...], force: bool
) -> tuple[Path, str]:
    """The file of the picture, and why there can be none, or "". **Raises**
    `ValueError` for files that could not be written, `ImportError` for a picture that
    was requested without matplotlib.
    """
    picture = plot or out.with_suffix(".png")
    no_picture = missing_package("plot", "matplotlib")
    # Without a request the run goes on without its picture.
    if plot is not None and no_picture:
        raise ImportError(f"--plot: {no_picture}")
    check_target("--out", out, suffixes, force)
    if not no_picture:
        check_target("--plot", picture, PICTURES, force)
    return picture, no_picture


def check_target(
    option: str, path: Path, suffixes: tuple[str, ...], force: bool
) -> None:
    """Raise `ValueError`, before anything is computed, for a file that could not be
    written at the end.
    """
    if path.suffix not in suffixes:
        allowed = f"it must end in {' or '.join(suffixes)}"
        cure = f"Name it result{suffixes[0]}, say."
        raise_value_error(option, str(path), allowed, cure)
    if path.exists() and not force:
        cure = "Give another name, or --force to overwrite it."
        raise_value_error(option, str(path), "this file exists", cure)
    # Folders that do not exist yet are made: the first that exists must be writable.
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    if path.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        cure = "Give a file in a folder of yours."
        raise_value_error(option, str(path), "it cannot be written there", cure)


def missing_package(extra: str, package: str) -> str:
    """How to install a package that is missing, or "" if it is there."""
    # Looked for and not imported, which would take time.
    if find_spec(package):
        return ""
    return f'{package} is not installed: pip install "fpsolve[{extra}]"'


def draw(result: Any, picture: Path) -> str:
    """Write the figure of a result, and return the name of the file."""
    figure = result.plot()
    # The form must be given, since the open file has no name that ends in it.
    form = picture.suffix.removeprefix(".")
    write_atomically(picture, lambda file: figure.savefig(file, format=form, dpi=150))
    return str(picture)
