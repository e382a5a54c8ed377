"""The package is as designed: layers, classes, sizes, configuration, and what
`import fpsolve` costs.
"""

import ast
import inspect
import os
import subprocess
import sys
import tomllib
import types

import fpsolve
from classes import class_faults
from import_rules import (
    ABOVE_ALL,
    LAYERS,
    ROOT,
    circle_faults,
    layer_faults,
    length_faults,
    package_sources,
)

SOURCES = package_sources()
CONFIGURATION = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
HEAVY = (
    "matplotlib",
    "xarray",
    "h5py",
    "h5netcdf",
    "typer",
    "rich",
    "diffrax",
    "pandas",
    "scipy.optimize",
)
LATE = (
    "optax",
    "lineax",
    "tqdm",
    "jax.scipy.sparse",
    *(
        f"fpsolve.{name}"
        for name in (*fpsolve._PUBLIC_NAMES, *fpsolve._PUBLIC_PACKAGES.values(), "cli")
    ),
)
MOST_IMPORT_SECONDS = 1.5


def run_python(code: str) -> str:
    """What a fresh interpreter prints when it runs `code`."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_imports_go_down() -> None:
    assert layer_faults(SOURCES) == []


def test_no_imports_go_in_circles() -> None:
    assert circle_faults(SOURCES) == []


def test_every_package_has_a_layer() -> None:
    packages = {
        path.stem
        for path in (ROOT / "fpsolve").iterdir()
        if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert packages - {name.rpartition(".")[2] for name in ABOVE_ALL} <= set(LAYERS)


def test_classes_are_abstract_or_final() -> None:
    assert class_faults(SOURCES) == []


def test_no_file_is_past_four_hundred_lines() -> None:
    files = [
        path
        for folder in ("fpsolve", "tests", "benchmarks")
        for path in (ROOT / folder).rglob("*.py")
    ]
    sources = {
        str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in files
    }
    assert length_faults(sources) == []


def named_paths(configuration: dict) -> set[str]:
    """Every file and folder that pyproject.toml names."""
    project, tool = configuration["project"], configuration["tool"]
    typed = "Typing :: Typed" in project["classifiers"]
    return {
        project["readme"],
        *project["license-files"],
        *([f"{project['name']}/py.typed"] if typed else []),
        *(
            target.partition(":")[0].replace(".", "/") + ".py"
            for target in project["scripts"].values()
        ),
        *tool["hatch"]["build"]["targets"]["wheel"]["packages"],
        *tool["hatch"]["build"]["targets"]["sdist"]["include"],
        *tool["pytest"]["ini_options"]["testpaths"],
        *tool["pytest"]["ini_options"]["pythonpath"],
        *tool["ruff"]["src"],
        *(
            pattern.removesuffix("/**")
            for pattern in tool["ruff"]["lint"]["per-file-ignores"]
            if not pattern.startswith("*")
        ),
        *tool["pyright"]["include"],
    }


def test_what_the_configuration_names_exists() -> None:
    assert [
        name
        for name in sorted(named_paths(CONFIGURATION))
        if not (ROOT / name).exists()
    ] == []


def test_continuous_integration_can_be_executed() -> None:
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_the_version_is_one() -> None:
    assert fpsolve.__version__ == CONFIGURATION["project"]["version"]


def undocumented(module: types.ModuleType) -> list[str]:
    """Public names of `module` that are missing or have no docstring."""
    found = []
    for name in module.__all__:
        thing = getattr(module, name, None)
        if thing is None:
            found.append(f"{name} is missing")
        elif not isinstance(thing, str):
            text = (
                vars(thing).get("__doc__")
                if inspect.isclass(thing)
                else inspect.getdoc(thing)
            )
            # a dataclass writes its own signature where nothing is said
            if not text or text.startswith(f"{name}("):
                found.append(f"{name} has no docstring")
    return found


def test_public_names_exist_and_are_documented() -> None:
    assert undocumented(fpsolve) == []


def test_import_loads_nothing_heavy_and_starts_no_device() -> None:
    code = (
        "import sys, fpsolve\n"
        "from jax._src import xla_bridge\n"
        f"heavy = [name for name in {HEAVY + LATE} if name in sys.modules]\n"
        "print(heavy, xla_bridge.backends_are_initialized())"
    )
    assert run_python(code) == "[] False"


def late_imports(source: str) -> dict[str, set[str]]:
    """What `__init__` imports under `if TYPE_CHECKING`: package to names."""
    (block,) = (node for node in ast.parse(source).body if isinstance(node, ast.If))
    found: dict[str, set[str]] = {}
    for node in block.body:
        if isinstance(node, ast.ImportFrom) and node.level:
            for alias in node.names:
                found.setdefault(node.module or alias.name, set()).update(
                    [alias.name] if node.module else []
                )
    return found


def test_type_checkers_and_the_interpreter_see_the_same_late_names() -> None:
    listed = {module: set(names) for module, names in fpsolve._PUBLIC_NAMES.items()}
    packages = {
        package: set()
        for name, package in fpsolve._PUBLIC_PACKAGES.items()
        if name in fpsolve.__all__
    }
    assert late_imports(SOURCES["fpsolve.__init__"]) == {**packages, **listed}


def test_a_name_that_only_type_checkers_see_is_found() -> None:
    source = (
        "if TYPE_CHECKING:\n    from .score import Estimate, Missing\n    from . "
        "import testing"
    )
    assert late_imports(source) == {"score": {"Estimate", "Missing"}, "testing": set()}


def test_late_names_are_listed_and_importable() -> None:
    code = (
        "import fpsolve as fp\nmissing = [name for name in fp.__all__ if name not in "
        "dir(fp)]\nfrom fpsolve import Estimate, score, testing, verify\nsame = "
        "fp.score is score and fp.score.Estimate is Estimate and fp.theorem.verify is "
        "verify\nprint(missing, same, fp.evolve.__class__.__name__, "
        "fp.spectrum.__class__.__name__, hasattr(fp, 'nothing'))"
    )
    assert run_python(code) == "[] True function function False"


def test_a_started_device_is_seen() -> None:
    code = (
        "import jax; from jax._src import xla_bridge; jax.devices(); "
        "print(xla_bridge.backends_are_initialized())"
    )
    assert run_python(code) == "True"


def test_import_is_quick() -> None:
    code = (
        "from time import perf_counter as now\nimport jax\nstart = now()\nimport "
        "fpsolve\nprint(now() - start)"
    )
    seconds = []
    while len(seconds) < 3 or (min(seconds) > MOST_IMPORT_SECONDS and len(seconds) < 6):
        seconds.append(float(run_python(code)))
    assert min(seconds) < MOST_IMPORT_SECONDS, seconds


def test_old_module_names_hold_what_they_held_and_warn() -> None:
    code = (
        "import warnings, fpsolve, importlib\nfrom fpsolve._renamed import "
        "RENAMED\nwith warnings.catch_warnings(record=True) as seen:\n    "
        "warnings.simplefilter('always')\n    found = "
        "[importlib.import_module(f'fpsolve.{name}') for name in RENAMED]\n    from "
        "fpsolve.adiabatic.particles import pearson\n    from "
        "fpsolve.adiabatic.counterdiabatic import drive\n    from fpsolve.report "
        "import plot_solution, load\n    from fpsolve.method.magnus import "
        "Magnus\nwarned = {str(w.message).split()[0] for w in seen if "
        "issubclass(w.category, DeprecationWarning)}\nprint(warned == "
        "{f'fpsolve.{name}' for name in RENAMED}, Magnus is fpsolve.Magnus, "
        "callable(fpsolve.evolve))"
    )
    assert run_python(code) == "True True True"
