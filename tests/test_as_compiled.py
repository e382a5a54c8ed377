"""Promised figures with the compiler's full optimisation, as users have it: the suite
itself compiles in a hurry.
"""

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def test_figures_hold_as_users_compile(tmp_path):
    """In a process with flags of its own: exact solutions in the plane and between
    walls, one seed each.
    """
    environment = os.environ | {
        "JAX_COMPILATION_CACHE_DIR": str(tmp_path),
        "FPSOLVE_FULL_OPTIMIZATION": "1",
    }
    environment["XLA_FLAGS"] = ""
    some = ["-m", "not exhaustive", "-k", "(plane or walls) and 0"]
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:xdist",
        "-p",
        "no:cacheprovider",
        *some,
    ]
    run = subprocess.run(
        [*command, str(HERE / "test_issue_figures.py")],
        cwd=HERE.parent,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout[-4000:]
