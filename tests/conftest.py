"""The whole suite: double precision, warnings as errors, no display.

With FPSOLVE_TYPED=1 in the environment, jaxtyping and beartype check the shapes and
types of every call into the package. `.ci/run` sets it for the default suite.
"""

import gc
import itertools
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("MPLBACKEND", "Agg")

import jax
import jaxtyping
import pytest
from jax.experimental.compilation_cache.compilation_cache import reset_cache

jax.config.update("jax_enable_x64", True)

# Most of a run is compilation, so compilers are asked to hurry, but in
# `test_as_compiled.py` and notebooks.
# A flag that XLA does not know would end the process: these were tried with jax 0.10.2
# and 0.11.2.
HURRY = "--xla_backend_optimization_level=0 --xla_cpu_parallel_codegen_split_count=1"
if jax.__version_info__ < (0, 11):
    HURRY += " --xla_cpu_use_fusion_emitters=false"
elif jax.__version_info__ >= (0, 12):
    HURRY = ""
# What was compiled and is kept holds some memory maps each, of the 65,530 that Linux
# allows a process.
MOST_MAPS = 50_000  # what a process may hold when a test starts
FEW_MAPS = 25_000  # what may be added before programs are forgotten
TESTS = itertools.count(1)
# The only places that say which tests the default run leaves out: each name is a
# marker.
LISTS = {
    name: Path(__file__).with_name(f"{name}.txt") for name in ("exhaustive", "slow")
}


def pytest_configure(config: pytest.Config) -> None:
    """Compile each program once for all workers and tests: a folder, this run's own or
    given, holds what was.
    """
    for_processor = config.getoption("markexpr") != "gpu"  # the flags are a processor's
    if for_processor and os.environ.get("FPSOLVE_FULL_OPTIMIZATION") != "1":
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {HURRY}".strip()
    # the hook must be there before anything imports the package
    if os.environ.get("FPSOLVE_TYPED") == "1":
        jaxtyping.install_import_hook("fpsolve", "beartype.beartype")
    worker = getattr(config, "workerinput", None)
    if worker is None:
        # Each worker has a core of its own: threads of a second one would wait for each
        # other. Workers start later.
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
        config.stash_folder = tempfile.TemporaryDirectory(prefix="fpsolve-compiled-")
        config.compiled = folder = (
            os.environ.get("JAX_COMPILATION_CACHE_DIR") or config.stash_folder.name
        )
    else:
        folder = worker["compiled"]
    jax.config.update("jax_compilation_cache_dir", folder)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    # for commands in processes of their own
    os.environ["FPSOLVE_COMPILATION_CACHE"] = str(folder)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node) -> None:
    """Tell a worker of pytest-xdist where the folder is."""
    node.workerinput["compiled"] = node.config.compiled


@pytest.fixture(autouse=True)
def double_precision():
    """Each test starts in double precision and leaves it so, whatever it switched in
    between.
    """
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", True)


@pytest.fixture(autouse=True)
def one_folder_of_programs() -> Iterator[None]:
    """Each test starts with the folder of compiled programs of this run, whichever it
    switched to.
    """
    folder = jax.config.values["jax_compilation_cache_dir"]
    yield
    if jax.config.values["jax_compilation_cache_dir"] != folder:
        jax.config.update("jax_compilation_cache_dir", folder)
        reset_cache()


def memory_maps() -> int:
    """How many memory maps this process holds; 0 where the system does not tell."""
    maps = Path("/proc/self/maps")
    return maps.read_bytes().count(b"\n") if maps.exists() else 0


most_maps = FEW_MAPS


@pytest.fixture(autouse=True)
def room_for_programs() -> Iterator[None]:
    """Forget what was compiled before it fills the memory maps of the process, which
    would end it.
    """
    global most_maps
    yield
    if next(TESTS) % 8 == 0 and memory_maps() > most_maps:
        from fpsolve.core.program import forget_programs

        forget_programs()
        jax.clear_caches()
        gc.collect()
        # Some maps stay. A limit near them would forget everything after every eighth
        # test, and all would be traced and lowered anew.
        most_maps = min(memory_maps() + FEW_MAPS, MOST_MAPS)


# Files whose tests are about the second look. It takes three runs instead of one, and a
# compilation for each new shape.
LOOK_TWICE = {
    "test_whole_error",
    "test_correspondence_error",
    "test_narrow_starts",
    "test_between_nodes",
    "test_level_errors",
    "test_along_errors",
    "test_field",
    "test_compiled_once",
    "test_readme",
    "test_steps_in_time",
    "test_effectivity",
    "test_far_starts",
}


@pytest.fixture(autouse=True)
def one_look(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Outside of these files the default is `check=False`, and a number has the error
    that its own run shows.
    """
    if request.path.stem in LOOK_TWICE:
        return
    from one_look import look_once

    look_once(monkeypatch.setattr)


@pytest.fixture
def fresh_programs() -> Iterator[None]:
    """Programs compiled for this test alone: one that changes a constant inside a
    program must find and leave none.
    """
    from fpsolve.core.program import forget_programs

    forget_programs()
    yield
    forget_programs()


@pytest.fixture
def nothing_is_computed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A public function as a user meets it, without the suite's type checks; fail as
    soon as an operator is made.
    """
    import fpsolve as fp

    def computed(*_: Any, **__: Any) -> None:
        raise AssertionError("computed before refusing")

    for scheme in (fp.Spectral, fp.ScharfetterGummel, fp.SquareRoot):
        monkeypatch.setattr(scheme, "assemble", computed)
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.hookimpl(tryfirst=True)  # before `-m` chooses among the items
def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Mark what the lists name, and skip what is marked `gpu` where there is no
    accelerator.
    """
    for marker, path in LISTS.items():
        lines = path.read_text(encoding="utf-8").splitlines()
        listed = {line for line in lines if line and not line.startswith("#")}
        found = set()
        for item in items:
            case = item.nodeid.removeprefix("tests/")
            here = listed & {case, case.partition("[")[0]}
            found |= here
            if here and not item.get_closest_marker(
                "exhaustive"
            ):  # a case may be on one list and its test on the other
                item.add_marker(marker)
        if config.args == config.getini("testpaths") and found != listed:
            raise pytest.UsageError(
                f"{path} lists what is no test: {sorted(listed - found)}"
            )
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if marked and jax.default_backend() == "cpu":
        for item in marked:
            item.add_marker(
                pytest.mark.skip(
                    reason="no accelerator: jax.default_backend() is 'cpu'"
                )
            )
