"""`compilation_cache`: keep compiled programs on disk, so that a script compiles once
and not at every start.

JAX names each program by a hash of its code, its shapes, the version of JAX and the
processor. A program found in the folder under that name is read in milliseconds; one
that is not is compiled and written there.

Reference: https://docs.jax.dev/en/latest/persistent_compilation_cache.html
"""

import contextlib
import os
import sys
import tempfile
import warnings
from pathlib import Path

import jax
from jax.experimental.compilation_cache.compilation_cache import reset_cache

from .checks import raise_value_error
from .constants import CONSTANTS
from .types import FilePath

SUFFIX = "-cache"  # ending of the files that JAX writes
VARIABLE = "FPSOLVE_COMPILATION_CACHE"  # environment variable for the command `fpsolve`
OFF = ("off", "0")  # values of the variable that turn the cache off
CURE = "Give a folder that you can write, or none for the user's cache folder."


def compilation_cache(folder: FilePath | None = None) -> Path:
    """Keep compiled programs in a folder, where later processes find them. Call it at
    the start of a script.

    **Arguments**: `folder`, a path; it is made if there is none. None is
    `default_folder()`: `fpsolve` in the user's cache folder. **Returns** the folder's
    absolute path. **Raises** `ValueError` if the folder is a file or cannot be written.

    **Keeps**: every program, however small, for this process and later ones, even if
    something was compiled before the call. Results do not change: the same program is
    read instead of compiled. Programs with Python callbacks are not kept. In the
    default folder the programs used longest ago are deleted when all take more than 1
    GiB; a folder of your own is never cleaned. The files contain code that is executed:
    share the folder only with people who may run code as you.

    **Cost**: tracing remains, and about 2 ms to read a program; about 9 kB of disk
    each.

    ```python
    import fpsolve as fp

    folder = fp.compilation_cache(
        "compiled"
    )  # fp.compilation_cache() for a folder that all your scripts share
    ```
    """
    path = _checked_folder(folder)
    jax.config.update("jax_compilation_cache_dir", str(path))
    # the default of JAX is 1 s
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    # no limit, whatever the file system
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    # JAX opens its cache at the first compilation and then keeps it. Without a reset, a
    # process that has compiled something would continue with its earlier folder, or
    # with none.
    reset_cache()
    # A file may be incomplete, because another process is writing it or was killed
    # while it did. JAX then warns and compiles the program again, which is harmless.
    warnings.filterwarnings(
        "ignore", "Error reading persistent compilation cache", UserWarning
    )
    if folder is None:
        delete_oldest(path)
    return path


def cache_of_command() -> str:
    """Turn on the cache for a command of `fpsolve`. **Returns** a warning if programs
    cannot be kept, else "".

    The folder is that of JAX's own settings if there is one, else that of the
    environment variable, else `default_folder()`.
    """
    folder = os.environ.get(VARIABLE) or None
    is_disabled = not jax.config.values["jax_enable_compilation_cache"]
    has_folder = jax.config.values["jax_compilation_cache_dir"]
    if folder in OFF or is_disabled or has_folder:
        return ""
    try:
        compilation_cache(folder)
    except ValueError as error:
        # A command still works without the cache, so this is a warning only.
        return (
            f"warning: compiled programs are not kept on disk. {error} {VARIABLE} "
            "names it; off turns this off."
        )
    return ""


def default_folder() -> Path:
    """`fpsolve` in the user's cache folder: $XDG_CACHE_HOME or ~/.cache,
    ~/Library/Caches, or %LOCALAPPDATA%.
    """
    if sys.platform == "win32":
        caches = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        caches = Path.home() / "Library" / "Caches"
    else:
        caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(caches) / "fpsolve"


def delete_oldest(folder: Path, max_bytes: int | None = None) -> int:
    """Delete the programs used longest ago if all take more than `max_bytes`.
    **Returns** the number of deleted files.

    JAX has a limit of its own, but with it JAX reads the access time of every file at
    each write, which may be thousands of files for each program.
    """
    limit = CONSTANTS.max_cache_bytes if max_bytes is None else max_bytes
    entries = []
    for entry in os.scandir(folder):
        # another process may have deleted the file
        with contextlib.suppress(FileNotFoundError):
            if entry.name.endswith(SUFFIX) and entry.is_file(follow_symlinks=False):
                state = entry.stat(follow_symlinks=False)
                # Some file systems do not record access times; the time of writing is
                # then the last known use.
                used = max(state.st_atime, state.st_mtime)
                entries.append((used, state.st_size, entry.path))
    total = sum(size for _, size, _ in entries)
    if total <= limit:
        return 0
    deleted = 0
    for _, size, name in sorted(entries):
        if total <= CONSTANTS.cache_fraction_kept * limit:
            break
        Path(name).unlink(missing_ok=True)
        total -= size
        deleted += 1
    return deleted


def _checked_folder(folder: FilePath | None) -> Path:
    """The folder as an absolute path. It is made if there is none, and a file is
    written to test it.
    """
    is_path = folder is None or isinstance(folder, str | os.PathLike)
    if not is_path or folder == "":
        raise_value_error("folder", folder, "it must be a path", CURE)
    try:
        given = default_folder() if folder is None else folder
        path = Path(given).expanduser().absolute()
    except RuntimeError:  # the home folder is unknown
        raise_value_error(
            "folder",
            folder,
            "there is no home folder",
            "Give a folder that you can write.",
        )
    if path.exists() and not path.is_dir():
        raise_value_error("folder", str(path), "it is a file", CURE)
    try:
        # for its owner only: its files are executed
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise_value_error(
            "folder", str(path), f"it cannot be written ({error.strerror})", CURE
        )
    return path
