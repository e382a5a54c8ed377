"""Optional packages: asked for when first needed, with the command that brings them."""

import contextlib
from collections.abc import Iterator


@contextlib.contextmanager
def extra(name: str, purpose: str) -> Iterator[None]:
    """Imports in the body belong to the extra `name`; where one is missing, say how to install it.

    ```python
    from fpsolve.core.extras import extra

    with extra("plot", "A picture"):
        import math
    ```
    """
    try:
        yield
    except ImportError as error:
        missing = error.name or name
        raise ImportError(f'{purpose} needs {missing}: pip install "fpsolve[{name}]"', name=error.name) from error
