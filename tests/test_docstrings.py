"""Every `python` block in a docstring of the package runs by itself."""

from pathlib import Path

import pytest

from blocks import ROOT, docstring_blocks, execute

FILES = sorted((ROOT / "fpsolve").rglob("*.py"))
BLOCKS: dict[str, str] = {}
for file in FILES:
    BLOCKS |= docstring_blocks(
        file.read_text(encoding="utf-8"), str(file.relative_to(ROOT))
    )


@pytest.mark.parametrize("name", BLOCKS)
def test_docstring_example_runs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert execute(BLOCKS[name], name)["__name__"] == "__main__"


def test_there_are_examples() -> None:
    assert len(BLOCKS) >= 1


MADE_UP = '''
class Well:
    """A well.

    ```python
    depth = 1.0
    assert depth > 0
    ```

    Text between, and a block that is not Python:

    ```bash
    exit 1
    ```

    ```python
    undefined_name
    ```
    """

    def __call__(self):
        """Nothing here.

        ```python
        assert "depth" not in globals()
        ```
        """
'''


def test_blocks_are_found_with_their_names() -> None:
    assert list(docstring_blocks(MADE_UP)) == [
        "made_up:Well",
        "made_up:Well:2",
        "made_up:Well.__call__",
    ]


def test_a_broken_block_is_caught_and_a_sound_one_passes() -> None:
    blocks = docstring_blocks(MADE_UP)
    assert execute(blocks["made_up:Well"], "first")["depth"] == 1.0
    execute(blocks["made_up:Well.__call__"], "third")
    with pytest.raises(NameError, match="undefined_name"):
        execute(blocks["made_up:Well:2"], "second")
