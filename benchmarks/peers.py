"""Other packages on the same problems, each in the form and with the options that reach
the error fastest.

Each adapter takes a problem and sizes, prepares what does not depend on the values of
the potential (nodes, programs, kernels), and returns `(run, density, axes)`: `run()`
solves, `density(answer)` gives values on the nodes `axes`. A package that is not
installed raises `ImportError`, which the caller turns into a note.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import problems
from by_hand import second_derivative

Peer = tuple[Callable[[], Any], Callable[[Any], np.ndarray], tuple[np.ndarray, ...]]


def _sinc(problem: Any, box: Any, shape: Any) -> tuple[Any, ...]:
    """Nodes, kinetic matrices, sqrt(pi) at the end, the wave at the start, and the map
    from waves to densities.
    """
    axes = problems.open_axes(box, shape)
    kinetic = [second_derivative(x) for x in axes]
    root = np.exp(-problems.potential(axes) / 2)
    first = (
        np.exp(-problems.potential(axes, 0.0) / 2) if problem.kind == "moving" else root
    )

    def density(wave: Any) -> np.ndarray:
        values = np.asarray(wave).reshape(shape) * root
        return values / (values.sum() * problems.cell(axes))

    return axes, kinetic, problem.start(axes) / first, density


def fplanck(problem: Any, box: Any, shape: Any, dense: bool) -> Peer:
    """`fokker_planck.propagate`: square-root rates on a line, by expm_multiply or the
    whole exponential.
    """
    # removed in NumPy 2; fplanck 0.2.2 calls it
    vars(np).setdefault("product", np.prod)
    import fplanck as package
    from scipy import constants

    ((lower, upper),), (n,) = box, shape
    middle = (lower + upper) / 2
    cells = (upper - lower) / n

    def run() -> Any:
        simulation = package.fokker_planck(
            temperature=1 / constants.k,
            drag=1.0,
            extent=upper - lower,
            resolution=cells,
            potential=lambda x: problems.potential((x + middle,)),
            boundary=package.boundary.reflecting,
        )
        start = lambda x: np.exp(-((x + middle + 1) ** 2) / (2 * problems.WIDTH**2))
        return simulation.propagate(start, problem.t, dense=dense)

    return run, lambda masses: masses / cells, (problems.centres(box[0], n),)


def diffrax(problem: Any, box: Any, shape: Any, solver: str, rtol: float) -> Peer:
    """An adaptive Runge-Kutta method of diffrax on the wave equation, with the sinc
    operator of an expert.
    """
    import diffrax as package
    import jax
    import jax.numpy as jnp

    axes, kinetic, start, density = _sinc(problem, box, shape)
    matrices = [jnp.asarray(matrix) for matrix in kinetic]
    potential_terms = [problem.potential_term(axes, s) for s in (0.0, 0.5, 1.0)]
    # the well is quadratic in s; (d_t log pi) / 2 is the extra term
    if problem.kind == "moving":
        a = potential_terms[0]
        b = -3 * potential_terms[0] + 4 * potential_terms[1] - potential_terms[2]
        c = 2 * (potential_terms[0] - 2 * potential_terms[1] + potential_terms[2])
        a = a - problems.speed(axes) / 2
    else:
        a, b, c = potential_terms[2], None, None

    def slope(t: Any, wave: Any, parts: Any) -> Any:
        a, b, c = parts
        s = t / problems.DURATION
        potential_term = a if b is None else a + s * (b + s * c)
        answer = -potential_term * wave - (
            matrices[0] @ wave.reshape(shape[0], -1)
        ).reshape(shape)
        if len(shape) == 3:
            answer = answer - jnp.matmul(matrices[1], wave)
        if len(shape) > 1:
            answer = answer - wave @ matrices[-1]
        return answer

    @jax.jit
    def solve(wave: Any, parts: Any) -> Any:
        return package.diffeqsolve(
            package.ODETerm(slope),
            getattr(package, solver)(),
            0.0,
            problem.t,
            1e-4,
            wave,
            parts,
            stepsize_controller=package.PIDController(rtol=rtol, atol=rtol / 100),
            saveat=package.SaveAt(t1=True),
            max_steps=2**20,
        ).ys[0]

    parts = tuple(None if part is None else jnp.asarray(part) for part in (a, b, c))
    wave = jnp.asarray(start)
    return lambda: solve(wave, parts), density, axes


def exponax(problem: Any, box: Any, n: int, steps: int, order: int = 4) -> Peer:
    """ETDRK on the wave equation: diffusion exact in Fourier space, the well as the
    nonlinear term.

    exponax knows cubes only, so every axis has `n` nodes on a unit interval and its own
    diffusion.
    """
    import exponax as package
    import jax
    import jax.numpy as jnp

    d = len(box)
    lengths = [upper - lower for lower, upper in box]
    axes = tuple(
        np.ix_(
            *(
                lower + length * np.arange(n) / n
                for (lower, _), length in zip(box, lengths, strict=True)
            )
        )
    )
    root = np.exp(-problems.potential(axes) / 2)
    potential_term = jnp.asarray(problem.potential_term(axes))[None]

    class PotentialTerm(package.nonlin_fun.BaseNonlinearFun):
        values: Any

        def __init__(self, values: Any):
            super().__init__(d, n, dealiasing_fraction=None)
            self.values = values

        def __call__(self, spectrum: Any) -> Any:
            return self.fft(-self.values * self.ifft(spectrum))

    class Stepper(package.BaseStepper):
        values: Any

        def __init__(self, values: Any):
            self.values = values
            super().__init__(d, 1.0, n, problem.t / steps, num_channels=1, order=order)

        def _build_linear_operator(self, derivative: Any) -> Any:
            scale = jnp.asarray(lengths).reshape(-1, *[1] * d)
            return jnp.sum((derivative / scale) ** 2, axis=0, keepdims=True)

        def _build_nonlinear_fun(self, derivative: Any) -> Any:
            return PotentialTerm(self.values)

    stepper = Stepper(potential_term)
    solve = jax.jit(package.repeat(stepper, steps))
    start = jnp.asarray(problem.start(axes) / root)[None]

    def density(wave: Any) -> np.ndarray:
        values = np.asarray(wave)[0] * root
        return values / (values.sum() * problems.cell(axes))

    return lambda: solve(start), density, axes


def py_pde(problem: Any, box: Any, shape: Any, method: str, rtol: float) -> Peer:
    """py-pde on the wave equation: three-point Laplacian, scipy's integrator `method`.

    The density form with py-pde's boundary conditions lets mass in through the walls;
    the wave form does not.
    """
    import pde

    grid = pde.CartesianGrid(list(box), list(shape))
    axes = tuple(np.ix_(*grid.axes_coords))
    root = np.exp(-problems.potential(axes) / 2)
    equation = pde.PDE(
        {"c": "laplace(c) - V * c"},
        consts={"V": pde.ScalarField(grid, problem.potential_term(axes))},
    )
    start = pde.ScalarField(grid, problem.start(axes) / root)

    def run() -> Any:
        solver = {
            "solver": "scipy",
            "method": method,
            "rtol": rtol,
            "atol": rtol / 1000,
        }
        return equation.solve(start, problem.t, tracker=None, **solver).data

    def density(wave: Any) -> np.ndarray:
        values = wave * root
        return values / (values.sum() * problems.cell(axes))

    return run, density, axes


def qutip(problem: Any, box: Any, shape: Any, method: str) -> Peer:
    """QuTiP in imaginary time, H_eff = -i H in the sinc basis: `sesolve`, or the
    exponential of the operator.
    """
    import qutip as package

    axes, (kinetic,), start, density = _sinc(problem, box, shape)
    hamiltonian = package.Qobj(kinetic + np.diag(problem.potential_term(axes)))
    size = np.linalg.norm(start)
    wave = package.Qobj(start / size)
    if method == "expm":
        return lambda: ((-problem.t * hamiltonian).expm() * wave).full(), density, axes
    options = {
        "method": method,
        "normalize_output": False,
        "progress_bar": "",
        "store_states": True,
    }
    if method != "diag":
        options |= {"atol": 1e-13, "rtol": 1e-9, "nsteps": 10**6}
    solve = lambda: (
        package.sesolve(-1j * hamiltonian, wave, [0.0, problem.t], options=options)
        .states[-1]
        .full()
        .real
    )
    return solve, density, axes
