"""Constants of the command line that decide answers."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class CliConstants:
    """Constants of `cli` that decide answers. Each says where its value comes from."""

    # default time / C: the first-order lag sqrt(chi2) is then about 0.1: derived
    total_per_cost: float = 10.0
    # relative error of the densities, far below the lags compared: a free choice
    transport_tol: float = 1e-6
    reported_times: int = 101  # times at which a transport is reported: a free choice
    # steps of the table of a schedule that is written: a free choice
    table_steps: int = 400
    # output times of `run` where none are given: a free choice
    default_times: tuple[float, ...] = (0.1, 1.0)
    # of two names, above which one is taken for a misspelling: a free choice
    name_similarity: float = 0.85


CONSTANTS = CliConstants()
