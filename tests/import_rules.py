"""The rules of the source tree, each a function from source text to the list of what
breaks it.

`Sources` maps a module's dotted name to its text, so that a fault can be planted
without a file; a package is named with its `__init__`, as in `fpsolve.grid.__init__`.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

Sources = dict[str, str]
ROOT = Path(__file__).parents[1]
PACKAGE = "fpsolve"

LAYERS = {
    "core": -1,
    "grid": 0,
    "potential": 0,
    "path": 0.5,
    "equation": 1,
    "record": 1.5,
    "operator": 2,
    "linear": 3,
    "propagate": 4,
    "step": 4.5,
    "eigen": 4.5,
    "plan": 5,
    "fit": 5.5,
    "solve": 6,
    "wick": 6.5,
    "anneal": 7,
    "diffusion": 7.2,
    "score": 7.5,
    "bridge": 7,
    "flow": 7.7,
    "learning": 7,
    "theorem": 8,
    "io": 9,
    "plot": 9.2,
    "cli": 9.5,
    "testing": 9.5,
}
TOP = 10  # the package itself and `python -m fpsolve`, which see everything
ABOVE_ALL = {f"{PACKAGE}.__init__", f"{PACKAGE}.__main__", f"{PACKAGE}._renamed"}

# Who may import what comes from outside and is optional or belongs to few; "lazily" is
# from inside a function.
OWNERS = {
    "matplotlib": {"plot"},
    "xarray": {"io"},
    "h5netcdf": {"io"},
    "h5py": {"io"},
    "typer": {"cli"},
    "rich": {"cli"},
    "diffrax": {"score", "flow", "bridge", "learning", "diffusion"},
    "optax": {"score", "flow", "bridge", "learning", "anneal"},
}
LAZY = {"matplotlib", "xarray", "h5netcdf", "h5py", "diffrax"}


def package_sources(root: Path = ROOT) -> Sources:
    """The package as it stands: dotted module name to text."""
    sources = {}
    for path in sorted((root / PACKAGE).rglob("*.py")):
        sources[".".join(path.relative_to(root).with_suffix("").parts)] = (
            path.read_text(encoding="utf-8")
        )
    return sources


def imports(module: str, source: str) -> Iterator[tuple[str, bool, int]]:
    """Every import in `source`: the dotted name, whether it stands inside a function,
    the line.
    """
    here = module.split(".")[:-1]

    def visit(node: ast.AST, inside: bool) -> Iterator[tuple[str, bool, int]]:
        if isinstance(node, ast.Import):
            yield from ((alias.name, inside, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            stem = here[: len(here) - node.level + 1] if node.level else []
            target = ".".join([*stem, *([node.module] if node.module else [])])
            yield from (
                (f"{target}.{alias.name}", inside, node.lineno) for alias in node.names
            )
        elif (
            isinstance(node, ast.Call)
            and _called(node) in {"import_module", "__import__"}
            and node.args
        ):
            if isinstance(node.args[0], ast.Constant):
                yield str(node.args[0].value), inside, node.lineno
            else:
                yield f"{PACKAGE}.?", inside, node.lineno
        inside = inside or isinstance(
            node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
        )
        for child in ast.iter_child_nodes(node):
            yield from visit(child, inside)

    return visit(ast.parse(source), False)


def _called(node: ast.Call) -> str:
    return getattr(node.func, "attr", getattr(node.func, "id", ""))


def package_of(module: str) -> str:
    """The package that a dotted name belongs to: `fpsolve.grid.axis` is in `grid`; what
    sees everything is in "".
    """
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in LAYERS else ""


def layer_faults(sources: Sources) -> list[str]:
    """Imports that do not go down, modules without a layer, and outside packages in the
    wrong one.
    """
    found = []
    for module, source in sources.items():
        if module in ABOVE_ALL:
            continue
        own = package_of(module)
        if not own:
            found.append(f"{module} has no layer")
            continue
        for target, inside, line in imports(module, source):
            where = f"{module}:{line}"
            top = target.split(".")[0]
            if top == PACKAGE:
                other = package_of(target)
                if other == own:
                    continue
                if LAYERS.get(other, TOP) >= LAYERS[own]:
                    found.append(f"{where} imports {target}, which is not below {own}")
            elif top in OWNERS and own not in OWNERS[top]:
                found.append(
                    f"{where} imports {top}, which belongs to "
                    f"{', '.join(sorted(OWNERS[top]))}"
                )
            elif top in LAZY and not inside:
                found.append(
                    f"{where} imports {top} at the top; import it inside the function "
                    "that needs it"
                )
    return found


def circle_faults(sources: Sources) -> list[str]:
    """Groups of modules that import each other in a circle, also inside functions."""
    edges = {
        module: set(_imported_modules(module, text, sources))
        for module, text in sources.items()
    }
    for module in ABOVE_ALL:
        edges.pop(module, None)
    # Modules that import nothing of what is left, or that nothing left imports, are in
    # no circle.
    while True:
        imported = {target for targets in edges.values() for target in targets}
        kept = {
            module: targets & edges.keys()
            for module, targets in edges.items()
            if module in imported
        }
        kept = {
            module: targets for module, targets in kept.items() if targets & kept.keys()
        }
        if kept == edges:
            break
        edges = kept
    return [f"{module} is in a circle of imports" for module in sorted(edges)]


def _imported_modules(module: str, source: str, sources: Sources) -> Iterator[str]:
    for target, _, _ in imports(module, source):
        while target and target not in sources and f"{target}.__init__" not in sources:
            target = target.rpartition(".")[0]
        found = target if target in sources else f"{target}.__init__"
        if target and found != module:
            yield found


def length_faults(texts: dict[str, str], most: int = 400) -> list[str]:
    """Files past `most` lines."""
    return [
        f"{name} has {n} lines"
        for name, text in texts.items()
        if (n := len(text.splitlines())) > most
    ]
