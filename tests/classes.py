"""Abstract or final, read from source text: who inherits from whom, what is declared
and what is implemented.

A class is *abstract* when it declares, or inherits and does not implement, an abstract
method or an equinox `AbstractVar`; a `Protocol` is abstract too. Every other class is
concrete, and therefore final.
"""

import ast
from dataclasses import dataclass, field

from import_rules import Sources, imports

# as many as a method has: unsupported, cost, keeps, prepare, apply
MOST_ABSTRACT_METHODS = 5
PLUMBING = {"tree_flatten", "tree_unflatten"}
Key = tuple[str, str]


@dataclass
class Class:
    """One class statement: its bases as (module, name), its methods and fields,
    abstract and given.
    """

    bases: list[Key]
    abstract: set[str] = field(default_factory=set)
    implemented: set[str] = field(default_factory=set)
    abstract_fields: set[str] = field(default_factory=set)
    fields: set[str] = field(default_factory=set)
    protocol: bool = False


def read_classes(sources: Sources) -> dict[Key, Class]:
    """Every class of `sources` by (module, qualified name), with the bases resolved
    through imports.
    """
    classes: dict[Key, Class] = {}
    names: dict[str, dict[str, str]] = {}
    for module, source in sources.items():
        names[module] = {
            target.rpartition(".")[2]: target
            for target, _, _ in imports(module, source)
        }
        names[module] |= _aliases(source, names[module])

    def resolve(module: str, name: str, seen: frozenset[Key] = frozenset()) -> Key:
        head, _, rest = name.partition(".")
        if (
            (module, name) in classes
            or (module, name) in seen
            or head not in names.get(module, {})
        ):
            return module, name
        target = names[module][head] + (f".{rest}" if rest else "")
        while "." in target:
            owner, _, tail = target.rpartition(".")
            for place in (owner, f"{owner}.__init__"):
                if place in sources:
                    return resolve(place, tail, seen | {(module, name)})
            target = owner
        return "", name

    statements: list[tuple[str, ast.ClassDef]] = []
    for module, source in sources.items():
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.ClassDef):
                statements.append((module, node))
                classes[module, node.name] = Class([])
    for module, node in statements:
        bases = [
            ast.unparse(base.value if isinstance(base, ast.Subscript) else base)
            for base in node.bases
        ]
        classes[module, node.name] = _read(
            node, [resolve(module, base) for base in bases], bases
        )
    return classes


def _aliases(source: str, names: dict[str, str]) -> dict[str, str]:
    """Names given by `import a as b` and `from a import b as c`."""
    found = {}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            for alias in node.names:
                if alias.asname:
                    found[alias.asname] = names.get(
                        alias.name.rpartition(".")[2], alias.name
                    )
    return found


def _read(node: ast.ClassDef, bases: list[Key], written: list[str]) -> Class:
    found = Class(
        bases, protocol=any(base.rpartition(".")[2] == "Protocol" for base in written)
    )
    for item in node.body:
        if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef):
            marks = {
                ast.unparse(mark).rpartition(".")[2] for mark in item.decorator_list
            }
            if "overload" not in marks and {"property", "abstractmethod"} <= marks:
                # a quantity, whether given as a field or computed
                found.abstract_fields.add(item.name)
            elif "overload" not in marks:
                (
                    found.abstract
                    if any(mark.startswith("abstract") for mark in marks)
                    else found.implemented
                ).add(item.name)
        elif isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name):
            kind = ast.unparse(item.annotation).partition("[")[0].rpartition(".")[2]
            (
                found.abstract_fields
                if kind in {"AbstractVar", "AbstractClassVar"}
                else found.fields
            ).add(item.target.id)
        elif isinstance(item, ast.Assign):
            found.fields |= {
                target.id for target in item.targets if isinstance(target, ast.Name)
            }
    return found


def ancestors(classes: dict[Key, Class], key: Key) -> list[Key]:
    """The classes of the package above `key`, nearest first."""
    above: list[Key] = []
    for base in classes[key].bases:
        if base in classes and base != key and base not in above:
            above += [
                base,
                *(other for other in ancestors(classes, base) if other not in above),
            ]
    return above


def is_abstract(classes: dict[Key, Class], key: Key) -> bool:
    """Whether something declared at `key` or above it is still to be implemented."""
    line = [classes[key], *(classes[above] for above in ancestors(classes, key))]
    given = set().union(*(one.implemented | one.fields for one in line))
    return classes[key].protocol or bool(
        set().union(*(one.abstract | one.abstract_fields for one in line)) - given
    )


def class_faults(sources: Sources) -> list[str]:
    """Concrete classes with subclasses, implemented methods overridden, wide abstract
    classes, `super()`.
    """
    classes = read_classes(sources)
    found = []
    for key, one in classes.items():
        name = ".".join(key)
        found += [
            f"{name} inherits from {'.'.join(base)}, which is concrete and therefore "
            "final"
            for base in one.bases
            if base in classes and base != key and not is_abstract(classes, base)
        ]
        found += [
            f"{name}.{method} overrides the one implemented in {'.'.join(above)}"
            for above in ancestors(classes, key)
            for method in sorted(
                (one.implemented | one.abstract) & classes[above].implemented
            )
            if method == "__call__"
            or not (method.startswith("__") or method in PLUMBING)
        ]
        if len(one.abstract) > MOST_ABSTRACT_METHODS:
            found.append(
                f"{name} declares {len(one.abstract)} abstract methods, at most "
                f"{MOST_ABSTRACT_METHODS}"
            )
    for module, source in sources.items():
        found += [
            f"{module}:{node.lineno} calls super()"
            for node in ast.walk(ast.parse(source))
            if isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id == "super"
        ]
    return found
