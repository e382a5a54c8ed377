"""`fpsolve bench`: run a file of `benchmarks/`."""

from pathlib import Path
from runpy import run_path

from ..core.checks import raise_value_error
from .output import check_target, missing_package


def run_benchmark(
    name: str, words: list[str], only: list[str], out: Path | None
) -> int:
    """Run a file of `benchmarks/`, a folder of the repository that is not installed
    with the package.
    """
    # Beside the package where it is installed from a clone, or in the current folder.
    places = [
        Path(__file__).resolve().parents[2] / "benchmarks",
        Path.cwd() / "benchmarks",
    ]
    folder = next((place for place in places if (place / f"{name}.py").is_file()), None)
    if folder is None:
        allowed = (
            f"the benchmarks lie in the repository, and {name}.py is in neither this "
            "folder nor the package's"
        )
        cure = "Clone the repository and give `fpsolve bench` in its folder."
        raise_value_error("bench", str(places[-1]), allowed, cure)
    if missing := missing_package("bench", "scipy"):
        raise ImportError(f"bench: {missing}")
    if out is not None:
        # A file of earlier rows is no mistake here.
        check_target("--out", out, (".json",), force=True)
    arguments = [*words, *(["--only", *only] if only else [])]
    arguments += ["--print-only"] if out is None else ["--out", str(out.absolute())]
    # By its path, since the folder is no package. Under another name than __main__ the
    # file defines `main` and does not run it.
    defined = run_path(str(folder / f"{name}.py"), run_name=name)
    return defined["main"](arguments)
