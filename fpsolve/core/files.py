"""Atomic writing of files: a file is written completely or not at all."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

# The permissions that new files of this process must not have. The mask can be read
# only by setting it.
_UMASK = os.umask(0)
os.umask(_UMASK)


def write_atomically(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Let `write` fill a temporary file, then rename it to `path`.

    The temporary file is in the same folder, because a rename is atomic only within one
    file system.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(
        dir=path.parent, prefix=f".{path.name}.", suffix=".part"
    )
    try:
        with os.fdopen(handle, "wb") as file:
            write(file)
            # The data must be on disk before the rename, or a power failure could leave
            # an empty file under `path`.
            file.flush()
            os.fsync(file.fileno())
        # `mkstemp` makes a file for its owner only
        os.chmod(temporary, 0o666 & ~_UMASK)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
