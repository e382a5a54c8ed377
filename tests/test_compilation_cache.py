"""`fp.compilation_cache`: a second process compiles nothing, and a folder that cannot
be used is refused.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from jax.experimental.compilation_cache.compilation_cache import reset_cache

import fpsolve as fp
from fpsolve.cli import application as cli
from fpsolve.core import compilation_cache as cache

OPTIONS = (
    "jax_compilation_cache_dir",
    "jax_enable_compilation_cache",
    "jax_persistent_cache_min_compile_time_secs",
    "jax_persistent_cache_min_entry_size_bytes",
)
SCRIPT = """
import collections, sys
import jax
import fpsolve as fp

events = collections.Counter()
count = lambda event, **_: events.update([event.rpartition("/")[2]])
jax.monitoring.register_event_listener(count)
# before the call: programs compiled later are kept all the same
jax.jit(lambda x: 3 * x)(1.0)
folder = {call}
grid = fp.Grid(fp.Line(-2.0, 2.0, 8))
print(float(fp.FokkerPlanck(fp.DoubleWell()).log_sqrt_pi(grid).sum()) != 0)
names = ("compile_requests_use_cache", "cache_hits", "cache_misses")
print(*(events[name] for name in names))
"""


@pytest.fixture(autouse=True)
def options() -> Iterator[None]:
    """Put JAX's options back as they were."""
    before = {name: jax.config.values[name] for name in OPTIONS}
    yield
    for name, value in before.items():
        jax.config.update(name, value)
    reset_cache()


def counts(folder: Path, call: str) -> tuple[int, int, int]:
    """Programs requested from the cache, found there, and written there, by a fresh
    process.
    """
    variables = {
        "JAX_COMPILATION_CACHE_DIR": "",
        "XDG_CACHE_HOME": str(folder),
        "LOCALAPPDATA": str(folder),
    }
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(call=call)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, **variables, "HOME": str(folder)},
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""  # no warning of a processor that differs, say
    requested, found, written = map(int, done.stdout.splitlines()[1].split())
    return requested, found, written


def test_a_second_process_compiles_nothing(tmp_path: Path) -> None:
    requested, _, written = counts(tmp_path, "fp.compilation_cache()")
    assert written > 3
    assert next(tmp_path.rglob("fpsolve")).stat().st_mode & 0o077 == 0
    again, found, more = counts(tmp_path, "fp.compilation_cache()")
    # The one program before the call asks a cache that has no folder yet.
    assert (again, found, more) == (requested, requested - 1, 0)


def test_without_the_call_nothing_is_kept(tmp_path: Path) -> None:
    assert counts(tmp_path, "None")[1:] == (0, 0)
    assert list(tmp_path.rglob("*-cache")) == []


def test_it_takes_effect_after_something_was_compiled(tmp_path: Path) -> None:
    jax.jit(lambda x: 5 * x - 1)(jnp.ones(3))
    folder = fp.compilation_cache(tmp_path / "made" / "here")
    assert folder == tmp_path / "made" / "here"
    jax.jit(lambda x: 7 * x - 2)(jnp.ones(3))
    assert len(list(folder.glob("jit__lambda-*-cache"))) == 1


def test_a_damaged_program_is_compiled_again_without_a_word(tmp_path: Path) -> None:
    folder = fp.compilation_cache(tmp_path)
    triple = lambda x: 11 * x - 3
    jax.jit(triple)(jnp.ones(3))
    (program,) = folder.glob("jit__lambda-*-cache")
    program.write_bytes(program.read_bytes()[:100])
    jax.clear_caches()
    assert float(jax.jit(triple)(jnp.ones(3))[0]) == 8  # warnings are errors here


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("file", "it is a file"),
        ("file/below", "it cannot be written"),
        ("", "it must be a path"),
    ],
)
def test_a_folder_that_cannot_be_used_is_refused(
    name: str, words: str, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    before = jax.config.values["jax_compilation_cache_dir"]
    with pytest.raises(ValueError, match=f"^folder = '.*: {words}.*Give a folder"):
        fp.compilation_cache(str(tmp_path / name) if name else "")
    assert jax.config.values["jax_compilation_cache_dir"] == before


def test_what_is_no_path_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^folder = 3: it must be a path\. Give"):
        fp.compilation_cache(3)


def programs(folder: Path, ages: tuple[int, ...]) -> list[Path]:
    """Files of 100 bytes, used so many days ago."""
    files = [folder / f"jit_f{age}-cache" for age in ages]
    for file, age in zip(files, ages, strict=True):
        file.write_bytes(bytes(100))
        os.utime(file, (1e9 - 86400 * age, 1e9 - 86400 * age))
    return files


def test_the_programs_used_longest_ago_are_deleted(tmp_path: Path) -> None:
    files = programs(tmp_path, (3, 9, 1, 7))
    (tmp_path / "notes.txt").write_bytes(bytes(1000))
    assert cache.delete_oldest(tmp_path, 400) == 0
    assert cache.delete_oldest(tmp_path, 399) == 2
    assert [file.exists() for file in files] == [True, False, True, False]
    assert (tmp_path / "notes.txt").exists()


def test_only_the_default_folder_is_cleaned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cleaned = []
    monkeypatch.setattr(cache, "delete_oldest", cleaned.append)
    monkeypatch.setattr(cache, "default_folder", lambda: tmp_path / "default")
    fp.compilation_cache(tmp_path / "own")
    assert cleaned == []
    assert fp.compilation_cache() == tmp_path / "default"
    assert cleaned == [tmp_path / "default"]


@pytest.mark.parametrize(
    ("platform", "variables", "folder"),
    [
        ("linux", {"XDG_CACHE_HOME": "/x"}, "/x/fpsolve"),
        ("linux", {"XDG_CACHE_HOME": ""}, "/home/me/.cache/fpsolve"),
        ("darwin", {}, "/home/me/Library/Caches/fpsolve"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local/fpsolve"),
        ("win32", {"LOCALAPPDATA": ""}, "/home/me/AppData/Local/fpsolve"),
    ],
)
def test_the_default_folder(
    platform: str, variables: dict, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(Path, "home", lambda: Path("/home/me"))
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert cache.default_folder() == Path(folder)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Run a command that computes nothing, as a user without a folder of JAX's own."""
    testing = pytest.importorskip("typer.testing")
    monkeypatch.setattr(cli, "verify_all", lambda *_: 0)
    monkeypatch.setattr(cli, "run_benchmark", lambda *_: 0)
    jax.config.update("jax_compilation_cache_dir", None)
    return lambda *words, **variables: testing.CliRunner().invoke(
        cli.application(), list(words), env=variables
    )


def test_a_command_keeps_its_programs(
    command: Callable[..., Any], tmp_path: Path
) -> None:
    assert command("verify", FPSOLVE_COMPILATION_CACHE=str(tmp_path)).output == ""
    assert jax.config.values["jax_compilation_cache_dir"] == str(tmp_path)


def test_a_command_uses_the_folder_that_jax_has(
    command: Callable[..., Any], tmp_path: Path
) -> None:
    jax.config.update("jax_compilation_cache_dir", "/mine")
    assert command("verify", FPSOLVE_COMPILATION_CACHE=str(tmp_path)).exit_code == 0
    assert jax.config.values["jax_compilation_cache_dir"] == "/mine"


@pytest.mark.parametrize("value", ["off", "0"])
def test_the_variable_turns_it_off(value: str, command: Callable[..., Any]) -> None:
    assert command("verify", FPSOLVE_COMPILATION_CACHE=value).exit_code == 0
    assert jax.config.values["jax_compilation_cache_dir"] is None


def test_no_cache_turns_off_jax_s_too(
    command: Callable[..., Any], tmp_path: Path
) -> None:
    assert (
        command(
            "--no-cache", "verify", FPSOLVE_COMPILATION_CACHE=str(tmp_path)
        ).exit_code
        == 0
    )
    assert jax.config.values["jax_compilation_cache_dir"] is None
    assert jax.config.values["jax_enable_compilation_cache"] is False


def test_bench_measures_compilation_so_it_keeps_none(
    command: Callable[..., Any], tmp_path: Path
) -> None:
    assert command("bench", FPSOLVE_COMPILATION_CACHE=str(tmp_path)).exit_code == 0
    assert jax.config.values["jax_compilation_cache_dir"] is None


def test_a_folder_that_cannot_be_written_stops_no_command(
    command: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    done = command("verify", FPSOLVE_COMPILATION_CACHE=str(tmp_path / "file"))
    assert done.exit_code == 0 and done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith(
        "warning: compiled programs are not kept on disk. folder = "
    )
    assert "FPSOLVE_COMPILATION_CACHE" in done.stderr
