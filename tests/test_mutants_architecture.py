"""Mutants: each rule of the source tree, broken in a made-up source, is caught; sound
sources pass.
"""

import types

import pytest

from classes import class_faults
from import_rules import circle_faults, layer_faults, length_faults
from test_architecture import CONFIGURATION, named_paths, undocumented

BASE = """
import abc
import equinox as eqx

class Scheme(eqx.Module):
    @abc.abstractmethod
    def build(self, grid): ...

    def name(self):
        return type(self).__name__

    def __repr__(self):
        return self.name()
"""


@pytest.mark.parametrize(
    ("module", "source", "fault"),
    [
        (
            "fpsolve.grid.axis",
            "from fpsolve.operator import Spectral",
            "not below grid",
        ),
        ("fpsolve.grid.axis", "import fpsolve.solve.evolve", "not below grid"),
        ("fpsolve.grid.axis", "from fpsolve import evolve", "not below grid"),
        ("fpsolve.grid.axis", "import fpsolve as fp", "not below grid"),
        ("fpsolve.grid.axis", "from ..operator import Spectral", "not below grid"),
        ("fpsolve.grid.__init__", "from ..operator import Spectral", "not below grid"),
        ("fpsolve.solve.evolve", "from ..anneal.along import along", "not below solve"),
        (
            "fpsolve.grid.axis",
            "def f():\n    from fpsolve.operator import Spectral",
            "not below grid",
        ),
        (
            "fpsolve.grid.axis",
            "if TYPE_CHECKING:\n    from fpsolve.operator import Spectral",
            "not below grid",
        ),
        (
            "fpsolve.grid.axis",
            "importlib.import_module('fpsolve.operator')",
            "not below grid",
        ),
        ("fpsolve.grid.axis", "importlib.import_module(name)", "not below grid"),
        (
            "fpsolve.grid.axis",
            "from fpsolve.potential import Harmonic",
            "not below grid",
        ),
        (
            "fpsolve.propagate.chebyshev",
            "from fpsolve.eigen import dense",
            "not below propagate",
        ),
        ("fpsolve.core.late", "import fpsolve.plot", "not below core"),
        (
            "fpsolve.core.late",
            "def f():\n    import fpsolve.cli.application",
            "not below core",
        ),
        (
            "fpsolve.core.apply_along_axis",
            "def f():\n    import fpsolve.plot",
            "not below core",
        ),
        ("fpsolve.helpers", "import math", "has no layer"),
        (
            "fpsolve.solve.evolve",
            "def f():\n    import matplotlib.pyplot",
            "belongs to plot",
        ),
        ("fpsolve.plot.solution", "import matplotlib.pyplot", "inside the function"),
        ("fpsolve.propagate.chebyshev", "from optax import adam", "belongs to"),
    ],
)
def test_an_import_that_does_not_go_down_is_caught(
    module: str, source: str, fault: str
) -> None:
    found = layer_faults({module: source})
    assert len(found) == 1
    assert fault in found[0]


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("fpsolve.__init__", "from fpsolve.solve.evolve import evolve"),
        (
            "fpsolve.operator.spectral",
            "from fpsolve.grid import Grid\nfrom fpsolve.core.checks import nearest",
        ),
        ("fpsolve.operator.__init__", "from fpsolve.operator.spectral import Spectral"),
        (
            "fpsolve.operator.spectral",
            "from .base import Scheme\nfrom ..grid import Grid",
        ),
        ("fpsolve.plot.solution", "def plot():\n    import matplotlib.pyplot as plt"),
        ("fpsolve.score.learn.fit", "import optax"),
        ("fpsolve.cli.application", "import typer\nfrom fpsolve.theorem import verify"),
    ],
)
def test_an_import_that_goes_down_passes(module: str, source: str) -> None:
    assert layer_faults({module: source}) == []


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        (
            "class A(Scheme):\n def build(self, grid): return 1\nclass B(A): pass",
            "concrete and therefore final",
        ),
        (
            "class A(Scheme):\n def build(self, grid): return 1\n def name(self): "
            "return 'A'",
            "overrides the one implemented",
        ),
        (
            "class A(Scheme):\n @abc.abstractmethod\n def name(self): ...",
            "overrides the one implemented",
        ),
        ("class A: pass\nclass B(A): x = 1", "concrete and therefore final"),
        (
            "class A(Scheme):\n def build(self, grid): return super().name()",
            "calls super()",
        ),
        (
            "class A:\n"
            + "".join(
                f" @abc.abstractmethod\n def f{k}(self): ...\n" for k in range(6)
            ),
            "declares 6 abstract methods",
        ),
    ],
)
@pytest.mark.parametrize(
    "place",
    ["same module", "through a package", "as an attribute", "under another name"],
)
def test_a_class_neither_abstract_nor_final_is_caught(
    source: str, fault: str, place: str
) -> None:
    sources = {
        "same module": {"fpsolve.operator.base": f"{BASE}\n{source}"},
        "through a package": {
            "fpsolve.operator.__init__": "from fpsolve.operator.base import Scheme",
            "fpsolve.operator.base": BASE,
            "fpsolve.operator.made_up": "import abc\n"
            f"from fpsolve.operator import Scheme\n{source}",
        },
        "as an attribute": {
            "fpsolve.operator.__init__": "",
            "fpsolve.operator.base": BASE,
            "fpsolve.operator.made_up": "import abc\n"
            "from fpsolve.operator import base\n"
            + source.replace("(Scheme)", "(base.Scheme)"),
        },
        "under another name": {
            "fpsolve.operator.base": BASE,
            "fpsolve.operator.made_up": "import abc\nfrom .base import Scheme as Root\n"
            + source.replace("(Scheme)", "(Root)"),
        },
    }[place]
    found = class_faults(sources)
    assert len(found) == 1, found
    assert fault in found[0]


@pytest.mark.parametrize(
    "source",
    [
        "class A(Scheme):\n def build(self, grid): return 1",
        "class A(Scheme):\n def build(self, grid): return 1\n def __repr__(self): "
        "return 'A'",
        "class A(Scheme):\n n: eqx.AbstractVar[int]\n def build(self, grid): return "
        "1\nclass B(A):\n n: int = 1",
        "class A(Scheme):\n @abc.abstractmethod\n def more(self): ...\n"
        "class B(A):\n def build(self, grid): ...\n def more(self): ...",
        "class A(typing.Protocol):\n def f(self): ...\nclass B(A):\n x = 1",
        "class A(enum.Enum):\n x = 1",
    ],
)
def test_a_class_abstract_or_final_passes(source: str) -> None:
    assert class_faults({"fpsolve.operator.base": f"{BASE}\n{source}"}) == []


def test_a_long_file_is_caught() -> None:
    assert length_faults({"short": "\n" * 400, "long": "\n" * 401}) == [
        "long has 401 lines"
    ]


def test_an_undocumented_and_a_missing_name_are_caught() -> None:
    module = types.ModuleType("made_up")
    module.__all__ = ["documented", "silent", "missing"]
    module.documented = types.ModuleType("documented", "It says what it is.")
    module.silent = types.ModuleType("silent")
    assert undocumented(module) == ["silent has no docstring", "missing is missing"]


def test_a_folder_that_the_configuration_adds_is_read() -> None:
    tool = CONFIGURATION["tool"] | {"pyright": {"include": ["no_such_folder"]}}
    assert "no_such_folder" in named_paths(CONFIGURATION | {"tool": tool})


def test_a_circle_of_imports_is_caught() -> None:
    there = {
        "fpsolve.grid.axis": "from .grid import Grid",
        "fpsolve.grid.grid": "def f():\n    from .axis import Axis",
    }
    onwards = {"fpsolve.grid.user": "from .axis import Axis"}
    assert len(circle_faults(there | onwards)) == 2
    assert circle_faults({"fpsolve.grid.axis": "import math"} | onwards) == []
