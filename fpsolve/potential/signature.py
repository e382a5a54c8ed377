"""Whether and how a function takes the time, f(x) or f(x, t), from its signature."""

import functools
import inspect
from collections.abc import Callable
from typing import Literal

from ..core.checks import raise_value_error


def takes_time(f: Callable[..., object]) -> bool:
    """Whether `f` is time-dependent: it has a parameter named t, or a second required
    positional parameter.

    The first parameter is the point, whatever its name. A second parameter with a
    default value (`lambda x, a=a: ...`) is not a time unless it is named t.
    `functools.partial(f, t=1.0)` is static, and so is a callable whose signature cannot
    be inspected. If `f` has an attribute `time_dependent` that is a boolean, its value
    is the answer.

    ```python
    from fpsolve.potential import takes_time

    (
        takes_time(lambda x, t: x[0] * t),
        takes_time(lambda x, a=2.0: a * x[0]),
    )  # True, False
    ```
    """
    stated = stated_time_dependence(f)
    return time_argument(f) != "none" if stated is None else stated


def stated_time_dependence(f: object) -> bool | None:
    """The boolean attribute `time_dependent` of `f`; None where it has none."""
    # `moves` is the name of version 0.1, which goes with the next release.
    for name in ("time_dependent", "moves"):
        value = getattr(f, name, None)
        if isinstance(value, bool):
            return value
    return None


def time_argument(f: Callable[..., object]) -> Literal["none", "position", "keyword"]:
    """How f takes the time: not at all, second by position, or by the keyword t."""
    signature = _signature(f)
    if signature is None:
        return "none"
    # A keyword that a `partial` binds is still in its signature, with a default value.
    bound = f.keywords if isinstance(f, functools.partial) else {}
    positional_kinds = (
        inspect.Parameter.POSITIONAL_ONLY,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
    )
    named_kinds = (*positional_kinds, inspect.Parameter.KEYWORD_ONLY)
    parameters = list(signature.parameters.values())
    second = [p for p in parameters if p.kind in positional_kinds][1:2]
    named = [
        p
        for p in parameters[1:]
        if p.name == "t" and p.name not in bound and p.kind in named_kinds
    ]
    # A parameter named t is the time. Without one, a second positional parameter is,
    # unless it has a default value.
    if named:
        return "position" if second == named else "keyword"
    if second and second[0].default is inspect.Parameter.empty:
        return "position"
    return "none"


def check_signature(f: Callable[..., object], time: str) -> None:
    """Raise `ValueError` for a callable that needs more than x and its time."""
    signature = _signature(f)
    if signature is None:
        return
    name = f"potential{signature}"
    if time != "none" and next(iter(signature.parameters)) == "t":
        raise_value_error(
            name,
            f,
            "the point must be the first argument, f(x, t), and here t is",
            "Swap the two arguments.",
        )
    # Bind the arguments that fpsolve will pass; `bind` raises an error for a missing or
    # surplus one.
    positions = (None, None) if time == "position" else (None,)
    keywords = {"t": None} if time == "keyword" else {}
    try:
        signature.bind(*positions, **keywords)
    except TypeError as error:
        cure = (
            "Bind the other arguments, with functools.partial or as defaults: lambda "
            "x, a=a: ..."
        )
        raise_value_error(
            name, f, f"it must be called as f(x) or f(x, t) ({error})", cure
        )


def _signature(f: Callable[..., object]) -> inspect.Signature | None:
    """The signature of f; None for some built-in functions, which have none."""
    try:
        return inspect.signature(f)
    except (TypeError, ValueError):
        return None
