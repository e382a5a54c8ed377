"""The whole suite: double precision, warnings as errors, types checked at run time, no display.

jaxtyping and beartype watch every call into the package: see `--jaxtyping-packages` in pyproject.toml, which installs
the import hook before anything imports `fpsolve`, in each worker too.
"""

import os

os.environ.setdefault("MPLBACKEND", "Agg")

import jax
import pytest

jax.config.update("jax_enable_x64", True)


@pytest.fixture(autouse=True)
def double_precision():
    """Each test starts in double precision and leaves it so, whatever it switched in between."""
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what is marked `gpu` where there is no accelerator, and say so."""
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if marked and jax.default_backend() == "cpu":
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="no accelerator: jax.default_backend() is 'cpu'"))
