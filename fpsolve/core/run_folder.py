"""A folder that belongs to one problem: `problem.json` in it says which, so that no
other run continues there.
"""

import json
import os
from pathlib import Path

from .checks import raise_value_error
from .files import write_atomically
from .types import FilePath

HEADER = "problem.json"


def check_folder(folder: FilePath) -> Path:
    """The folder as a path. **Raises** `ValueError` for what is no path, and for the
    path of a file.
    """
    if not isinstance(folder, str | os.PathLike):
        raise_value_error(
            "checkpoint",
            folder,
            "it must be the path of a folder",
            'Give "runs/first", say.',
        )
    path = Path(folder)
    if path.exists() and not path.is_dir():
        raise_value_error(
            "checkpoint",
            str(folder),
            "it is a file",
            "Give a folder, new or of the same call.",
        )
    return path


def open_run_folder(folder: FilePath, problem: dict[str, str]) -> Path:
    """The path of a folder whose header is `problem`; a new one is given this header.

    **Arguments**: `problem`, what shapes the answer, by name. **Raises** `ValueError`
    if the folder holds another problem, with the names in which they differ.
    """
    path = check_folder(folder)
    header = path / HEADER
    if not header.exists():
        text = json.dumps(problem, indent=2)
        write_atomically(header, lambda file: file.write(text.encode()))
        return path
    kept = json.loads(header.read_text())
    names = problem | kept
    different = sorted(name for name in names if kept.get(name) != problem.get(name))
    if different:
        allowed = f"it holds another problem, which differs in {', '.join(different)}"
        raise_value_error(
            "checkpoint",
            str(folder),
            allowed,
            "Give an empty folder, or the same call as before.",
        )
    return path
