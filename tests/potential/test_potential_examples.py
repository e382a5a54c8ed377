"""Every fenced example of the package runs by itself."""

import pathlib
import re
import textwrap

import pytest

import fpsolve.potential

FILES = sorted(pathlib.Path(fpsolve.potential.__file__).parent.glob("*.py"))
EXAMPLES = [
    pytest.param(textwrap.dedent(code), id=f"{file.stem}-{i}")
    for file in FILES
    for i, code in enumerate(
        re.findall(r"^ *```python\n(.*?)^ *```", file.read_text(), re.S | re.M)
    )
]


def test_examples_were_found():
    assert len(EXAMPLES) >= 19


@pytest.mark.parametrize("code", EXAMPLES)
def test_example(code):
    exec(code, {})
