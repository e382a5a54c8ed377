"""Files hold what was computed, to the bit; they are written whole or not at all, and
damaged ones are refused.
"""

import builtins
import json
import zipfile
from pathlib import Path
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest

import fpsolve as fp
from fpsolve.io import describe, load, save, to_xarray

GRID = fp.Grid(fp.Line(-2.5, 2.5, 24), fp.Periodic(0.0, 1.0, 5))


def well(x, t=0.0):
    return (x[0] ** 2 - 1) ** 2 * (1 + 0.1 * t)


@pytest.fixture(scope="module")
def solution() -> fp.Solution:
    start = fp.Gaussian([-0.5, 0.5], [0.2, 9.0])
    observables = {"x": lambda x: x, "left": lambda x: x[0] < 0}
    equation = fp.FokkerPlanck(lambda x: well(x))
    return fp.evolve(
        equation, start, [0.0, 0.1, 0.2], grid=GRID, observables=observables, tol=1e-6
    )


@pytest.fixture(scope="module")
def moving() -> fp.Solution:
    return fp.evolve(
        fp.FokkerPlanck(well),
        fp.Gaussian(-0.5, 0.2),
        [0.1, 0.2],
        grid=fp.Grid(GRID.axes[0]),
        tol=1e-4,
    )


@pytest.fixture(scope="module")
def modes() -> fp.Spectrum:
    return fp.spectrum(fp.FokkerPlanck(lambda x: well(x)), fp.Grid(GRID.axes[0]), 4)


@pytest.fixture(scope="module")
def both() -> fp.Correspondence:
    return fp.correspondence(
        fp.FokkerPlanck(lambda x: well(x)),
        fp.Gaussian(-0.5, 0.2),
        [0.1, 0.2],
        grid=fp.Grid(GRID.axes[0]),
    )


def same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return one.keys() == other.keys() and all(
        np.array_equal(one[name], other[name]) for name in one
    )


@pytest.mark.parametrize("suffix", [".npz", ".nc"])
@pytest.mark.parametrize("which", ["solution", "moving", "modes", "both"])
def test_every_result_comes_back_to_the_bit(
    which: str, suffix: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    result = request.getfixturevalue(which)
    path = tmp_path / f"result{suffix}"
    result.save(path)
    record = load(path)
    expected = describe(result)
    assert same(record.arrays, expected.arrays)
    assert (record.kind, record.grid) == (type(result).__name__, result.grid)
    assert record.header == json.loads(json.dumps(expected.header))
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    record.save(tmp_path / "again.npz")
    assert same(load(tmp_path / "again.npz").arrays, expected.arrays)


def test_a_record_answers_like_its_solution(
    solution: fp.Solution, tmp_path: Path
) -> None:
    solution.save(tmp_path / "a.npz")
    record = load(tmp_path / "a.npz")
    assert np.array_equal(record.times, solution.times)
    assert np.array_equal(record.values, solution.values)
    assert {name: values.shape for name, values in record.observables.items()} == {
        "x": (3, 2),
        "left": (3,),
    }
    assert record.header["fpsolve"] == fp.__version__
    assert record.header["result"] == solution.result
    assert record.header["scheme"] == solution.stats["scheme"]
    assert "FokkerPlanck" in record.header["equation"]
    with pytest.raises(
        ValueError, match=r"name = 'wave': a Solution has the arrays times"
    ):
        record["wave"]


def test_numpy_alone_can_read_it(solution: fp.Solution, tmp_path: Path) -> None:
    solution.save(tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz", allow_pickle=False) as file:
        assert json.loads(str(file["header"]))["grid"][0] == {
            "kind": "Line",
            "lower": -2.5,
            "upper": 2.5,
            "n": 24,
        }
        assert file["values"].shape == (3, 24, 5)


@pytest.mark.parametrize("suffix", [".npz", ".nc"])
def test_a_complex_wave_comes_back(suffix: str, tmp_path: Path) -> None:
    grid = fp.Grid(fp.Line(-5.0, 5.0, 16))
    wave = fp.evolve(
        fp.Schrodinger(lambda x: x[0] ** 2 / 2),
        jnp.exp(-(grid.nodes[0] ** 2)),
        [0.1],
        grid=grid,
        wick=np.pi / 2,
    )
    wave.save(tmp_path / f"wave{suffix}")
    assert np.array_equal(load(tmp_path / f"wave{suffix}").values, wave.values)


def test_a_dataset_names_its_dimensions(
    solution: fp.Solution, moving: fp.Solution
) -> None:
    data = solution.to_xarray()
    assert data["values"].dims == ("time", "x0", "x1")
    assert np.array_equal(data["x0"], GRID.axes[0].nodes)
    assert np.array_equal(data["time"], solution.times)
    assert data["error"].dims == ("time",)
    assert data.attrs["mass_drift"] == solution.stats["mass_drift"]
    assert data["potential"].dims == ("x0", "x1")
    assert to_xarray(moving)["potential"].dims == ("time", "x0")


@pytest.mark.parametrize("suffix", [".npz", ".nc"])
def test_a_failure_while_writing_leaves_the_old_file(
    suffix: str,
    solution: fp.Solution,
    moving: fp.Solution,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / f"a{suffix}"
    solution.save(path)
    before = path.read_bytes()

    def half(file: Any, *args: Any, **kwargs: Any) -> None:
        file.write(b"half a file")
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr("fpsolve.io.files._write_npz", lambda record, file: half(file))
        patch.setattr(
            "fpsolve.io.files._write_netcdf",
            lambda data, record, folder, file: half(file),
        )
        with pytest.raises(OSError, match="no space left"):
            moving.save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def damage(path: Path, fault: str) -> None:
    """Spoil a saved `.npz` in one way."""
    whole = path.read_bytes()
    if fault == "cut":
        path.write_bytes(whole[: len(whole) // 2])
    elif fault == "flipped":
        place = whole.index(b"values.npy") + 600
        path.write_bytes(
            whole[:place] + bytes([whole[place] ^ 255]) + whole[place + 1 :]
        )
    elif fault == "empty":
        path.write_bytes(b"")
    elif fault == "foreign":
        np.savez(path, values=np.ones(3))
    elif fault == "pickle":
        np.savez(
            path,
            header=np.array({"format": "fpsolve"}, dtype=object),
            allow_pickle=True,
        )
    else:
        with np.load(path) as file:
            arrays = dict(file)
        header = json.loads(str(arrays["header"]))
        if fault == "newer":
            header["format_version"] = 99
        elif fault == "missing":
            del arrays["error"]
        elif fault == "misshapen":
            arrays["values"] = arrays["values"][:, :-1]
        np.savez(path, **arrays | {"header": np.array(json.dumps(header))})


@pytest.mark.parametrize(
    "fault",
    ["cut", "flipped", "empty", "foreign", "pickle", "newer", "missing", "misshapen"],
)
def test_damaged_and_foreign_files_are_refused(
    fault: str, solution: fp.Solution, tmp_path: Path
) -> None:
    path = tmp_path / "a.npz"
    solution.save(path)
    load(path)
    damage(path, fault)
    with pytest.raises(
        ValueError,
        match=r"path = '.*a\.npz': it must be a whole fpsolve file, and is not \(",
    ):
        load(path)


def test_other_endings_and_other_things_are_refused(
    solution: fp.Solution, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=r"path = '.*: it must end in \.npz or \.nc"):
        solution.save(tmp_path / "a.csv")
    with pytest.raises(ValueError, match=r"it must be a result of fpsolve"):
        save(3.0, tmp_path / "a.npz")
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "a.npz")
    (tmp_path / "a.nc").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="whole fpsolve file"):
        load(tmp_path / "a.nc")
    assert not zipfile.is_zipfile(tmp_path / "a.nc")


def test_a_traced_result_is_refused(modes: fp.Spectrum) -> None:
    with pytest.raises(ValueError, match=r"its values are traced"):
        eqx.filter_jit(lambda x: describe(x).arrays["values"])(modes)


def hide(monkeypatch: pytest.MonkeyPatch, *packages: str) -> None:
    """Make packages look as if they were not installed."""
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.partition(".")[0] in packages:
            raise ModuleNotFoundError(
                f"No module named {name!r}", name=name.partition(".")[0]
            )
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)


def test_missing_extras_say_how_to_get_them(
    solution: fp.Solution, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hide(monkeypatch, "xarray", "matplotlib")
    with pytest.raises(ImportError, match=r'xarray: pip install "fpsolve\[io\]"'):
        solution.save(tmp_path / "a.nc")
    with pytest.raises(ImportError, match=r'xarray: pip install "fpsolve\[io\]"'):
        solution.to_xarray()
    with pytest.raises(ImportError, match=r'matplotlib: pip install "fpsolve\[plot\]"'):
        solution.plot()
    solution.save(tmp_path / "a.npz")
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]
