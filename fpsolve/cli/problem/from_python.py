"""A problem from a Python file: its module variables. Only `potential` and `grid` are
needed.
"""

import difflib
import runpy
import traceback
import types
from pathlib import Path
from typing import Any

from ..constants import CONSTANTS


def read_python(path: Path, keys: tuple[str, ...]) -> dict[str, Any]:
    """The variables named in `keys` that the file defines.

    **Raises** `ValueError` where the file fails, with the line, and for a variable
    whose name is nearly one of `keys` while that one is missing: with a misspelt
    `difusion` the default would be used silently.
    """
    names = run_python(path)
    absent = [key for key in keys if key not in names]
    for name, value in names.items():
        # Imported modules and functions may have any name.
        home = getattr(value, "__module__", path.stem)
        own = not isinstance(value, types.ModuleType) and home == path.stem
        close = difflib.get_close_matches(name, absent, 1, CONSTANTS.name_similarity)
        if close and own and not name.startswith("_"):
            message = (
                f"the file defines {name} and no {close[0]}. "
                f"Did you mean {close[0]!r}? Else name it differently."
            )
            raise ValueError(f"{path.name}: {message}")
    return {key: names[key] for key in keys if key in names}


def run_python(path: Path) -> dict[str, Any]:
    """All variables that a file defines. **Raises** `ValueError` where the file fails,
    with the line.
    """
    try:
        return runpy.run_path(str(path), run_name=path.stem)
    # a user's file may raise anything; one line gives the place
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        inside = [frame.lineno for frame in frames if frame.filename == str(path)]
        # A syntax error has no frame within the file, and knows its line itself.
        line = inside[-1] if inside else getattr(error, "lineno", None)
        where = f"{path.name}, line {line}" if line else path.name
        raise ValueError(f"{where}: {type(error).__name__}: {error}") from error
