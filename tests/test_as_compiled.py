"""A file of the suite with the compiler's full optimisation, as users have it: the suite itself compiles in a hurry."""

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def test_the_figures_hold_as_users_compile(tmp_path):
    """In a process of its own, with programs of its own: the flags of a compiler hold for a process."""
    environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(tmp_path), "FPSOLVE_FULL_OPTIMIZATION": "1"}
    environment["XLA_FLAGS"] = ""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", "-p", "no:cacheprovider"]
    run = subprocess.run(
        [*command, str(HERE / "test_issue_figures.py")],
        cwd=HERE.parent,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout[-4000:]
