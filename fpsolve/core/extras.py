"""Optional packages: imported when first needed; if one is missing, the error says how
to install it.
"""

import contextlib
from collections.abc import Iterator


@contextlib.contextmanager
def extra(name: str, purpose: str) -> Iterator[None]:
    """A context for imports that belong to the extra `name`. A missing package raises
    `ImportError` with the command.

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
        raise ImportError(
            f'{purpose} needs {missing}: pip install "fpsolve[{name}]"', name=error.name
        ) from error
