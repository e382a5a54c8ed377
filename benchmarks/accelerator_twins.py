"""The recurrences of `by_hand.py` on the same device, on arrays of numpy, CuPy or
PyTorch.

Each function uses only operators, slices and products, which all three libraries have.
It takes the numbers of the operator and as many products as fpsolve did, so that both
do the same work. A library is loaded when it is first used.
"""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import harness
import numpy as np


@dataclasses.dataclass(frozen=True)
class Library:
    """An array library: `load` converts a JAX array without a copy; `wait` returns when
    all work is done.
    """

    name: str
    load: Callable[[Any], Any]
    wait: Callable[[], None]


def libraries(backend: str, missing: dict[str, str]) -> Iterator[Library]:
    """The libraries that run where JAX runs: numpy on a processor, CuPy and PyTorch on
    an NVIDIA card. The reason why another does not run goes into `missing`, by name.
    """
    makers = (
        {"numpy": _numpy} if backend == "cpu" else {"CuPy": _cupy, "PyTorch": _torch}
    )
    for name, make in makers.items():
        try:
            library = make(name)
        except Exception as fault:  # noqa: BLE001 - not installed, or not for this card: the message of the exception says which
            missing[name] = harness.in_words(fault)
            continue
        yield library


def _numpy(name: str) -> Library:
    return Library(name, np.asarray, lambda: None)


def _cupy(name: str) -> Library:
    import cupy

    cupy.cuda.runtime.getDeviceCount()  # raises where there is no card
    return Library(name, cupy.from_dlpack, lambda: cupy.cuda.Device().synchronize())


def _torch(name: str) -> Library:
    import torch

    torch.backends.cuda.matmul.allow_tf32 = False
    torch.cuda.init()  # raises where there is no card
    return Library(name, torch.from_dlpack, torch.cuda.synchronize)


def volumes(
    library: Library,
    couplings: Any,
    out_rates: Any,
    field: Any,
    highest: float,
    terms: Any,
) -> Callable[[], Any]:
    """sum_k terms_k T_k(X) field, X = 1 - 2 H / highest, by slices: couplings along
    each axis, out rates on nodes.
    """
    links = [library.load(4 / highest * c) for c in couplings]
    diagonal, start = library.load(2 - 4 / highest * out_rates), library.load(field)
    ndim = start.ndim
    below = [
        tuple(slice(None, -1) if j == i else slice(None) for j in range(ndim))
        for i in range(ndim)
    ]
    above = [
        tuple(slice(1, None) if j == i else slice(None) for j in range(ndim))
        for i in range(ndim)
    ]

    def twice(u: Any) -> Any:  # 2 X u
        image = diagonal * u
        for link, low, high in zip(links, below, above, strict=True):
            image[low] += link * u[high]
            image[high] += link * u[low]
        return image

    return lambda: _sums(twice, start, terms)


def spectral(
    library: Library,
    matrices: Any,
    potential_term: Any,
    field: Any,
    highest: float,
    terms: Any,
) -> Callable[[], Any]:
    """The same by a dense matrix along each axis and a potential term on the nodes."""
    along = [library.load(-4 / highest * matrix) for matrix in matrices]
    diagonal = library.load(2 - 4 / highest * potential_term)
    start = library.load(field)
    first = along[0]
    last = along[-1]
    shape = start.shape

    def twice(u: Any) -> Any:
        image = diagonal * u
        image += (first @ u.reshape(shape[0], -1)).reshape(shape)
        for matrix in along[1:-1]:
            image += matrix @ u
        # the matrices are symmetric
        image += (u.reshape(-1, shape[-1]) @ last).reshape(shape)
        return image

    return lambda: _sums(twice, start, terms)


def _sums(twice: Callable[[Any], Any], start: Any, terms: Any) -> Any:
    before, now = start, twice(start) / 2
    total = float(terms[0]) * before + float(terms[1]) * now
    for term in terms[2:]:
        after = twice(now)
        after -= before
        total += float(term) * after
        before, now = now, after
    return total
