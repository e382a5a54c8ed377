"""Modules by the names that they had in version 0.1: importable for one release, with a
warning.

This module goes with the next release.
"""

import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

# The old name, and the modules that hold now what it held; all within the package.
RENAMED: dict[str, tuple[str, ...]] = {
    "adiabatic": ("anneal", "diffusion"),
    "adiabatic.along": ("anneal.along", "anneal.confinement"),
    "adiabatic.bounds": ("anneal.bounds", "anneal.schedule_samples"),
    "adiabatic.costs": ("anneal.costs",),
    "adiabatic.counterdiabatic": ("anneal.counterdiabatic",),
    "adiabatic.curvature": ("anneal.curvature",),
    "adiabatic.distances": ("anneal.distances",),
    "adiabatic.fewer": ("anneal.coarsen_grid",),
    "adiabatic.generation": (
        "diffusion.generation",
        "diffusion.reverse_process",
        "diffusion.bisection",
    ),
    "adiabatic.gibbs": ("anneal.gibbs",),
    "adiabatic.jarzynski": ("anneal.jarzynski",),
    "adiabatic.lag": ("anneal.transport_result",),
    "adiabatic.learn": ("anneal.schedule.learn",),
    "adiabatic.monotone": ("anneal.schedule.monotone",),
    "adiabatic.noise": ("anneal.schedule.noise",),
    "adiabatic.panels": ("anneal.panels",),
    "adiabatic.particles": ("diffusion.particles",),
    "adiabatic.read": ("anneal.read",),
    "adiabatic.reverse": ("diffusion",),
    "adiabatic.schedule": ("anneal.schedule",),
    "adiabatic.steps": ("diffusion.steps", "diffusion.line_law"),
    "adiabatic.transport": ("anneal.transport", "anneal.transport_numbers"),
    "adiabatic.velocity": ("anneal.velocity",),
    "adiabatic.where": ("anneal.grid_for_path",),
    "checkpoint": ("solve.checkpoint",),
    "core.along": ("core.apply_along_axis",),
    "eigen.choose": ("eigen.solver_choice",),
    "eigen.partner": ("eigen.supersymmetric_gap",),
    "eigen.volumes": ("eigen.fv_lobpcg",),
    "entrance": ("plan.validation", "plan.equation_check", "plan.initial_state"),
    "fit.ask": ("fit.validation", "fit.failures"),
    "fit.door": ("fit.fit_grid",),
    "fit.landscape": ("fit.sampled_equation",),
    "fit.line": ("fit.slice_problem", "fit.slice_evolution"),
    "fit.profile": ("fit.marginal_profile",),
    "fit.terrain": ("fit.bounding_box",),
    "fit.tube": ("fit.gaussian_prediction",),
    "fit.where": ("fit.domain", "fit.slice_points", "fit.slice_coefficients"),
    "linear.krylov": ("linear.resolvent",),
    "linear.layers": ("linear.block_tridiagonal",),
    "linear.lines": ("linear.tridiagonal",),
    "linear.positive": ("linear.markov_expm",),
    "method": ("propagate", "step", "plan.method_choice"),
    "method.aliasing": ("operator.aliasing",),
    "method.base": ("propagate.base",),
    "method.breakpoints": ("step.breakpoints",),
    "method.chebyshev": ("propagate.chebyshev",),
    "method.choose": ("plan.method_choice",),
    "method.clipping": ("operator.clipping",),
    "method.collocation": ("step.collocation",),
    "method.contraction": ("propagate.contraction", "propagate.contraction_ranks"),
    "method.dense": ("propagate.dense",),
    "method.gauss": ("step.gauss_rules",),
    "method.implicit": ("propagate.implicit", "propagate.implicit_steps"),
    "method.magnus": ("step.magnus", "step.midpoint", "step.interval", "step.timeline"),
    "method.moving_wave": ("step.moving_wave",),
    "method.problem": ("step.problem",),
    "method.rational": ("propagate.rational",),
    "method.splitting": ("propagate.splitting",),
    "method.timeline": ("step.timeline",),
    "method.trajectory": (
        "step.trajectory",
        "step.interval_run",
        "step.two_pictures",
    ),
    "method.uniformization": ("propagate.uniformization",),
    "modes": ("solve.spectrum_result",),
    "potential.combine": ("potential.base", "potential.signature"),
    "potential.composed": ("path.composed",),
    "potential.moved": ("path.moved",),
    "potential.noising": ("path.noising",),
    "potential.path": ("path.mix",),
    "potential.tempering": ("path.tempering",),
    "problem": ("cli.problem",),
    "problem.annealing": ("cli.problem.annealing",),
    "problem.base": ("cli.problem.base",),
    "problem.from_python": ("cli.problem.from_python",),
    "problem.from_toml": ("cli.problem.from_toml",),
    "rates": ("solve.hitting", "solve.kramers"),
    "rates.hitting": ("solve.hitting",),
    "rates.kramers": ("solve.kramers",),
    "rates.sets": ("solve.sets",),
    "report": ("io", "plot"),
    "report.animate": ("plot.animate",),
    "report.dataset": ("io.dataset",),
    "report.extras": ("core.extras",),
    "report.files": ("io.files",),
    "report.panels": ("plot.panels",),
    "report.plot_correspondence": ("plot.correspondence",),
    "report.plot_score": ("plot.score",),
    "report.plot_solution": ("plot.solution",),
    "report.plot_spectrum": ("plot.spectrum",),
    "report.plot_transport": ("plot.transport",),
    "report.record": ("record", "io.reading"),
    "scheme": ("operator",),
    "scheme.base": ("operator.base",),
    "scheme.basis": ("operator.basis",),
    "scheme.cells": ("operator.cells",),
    "scheme.edges": ("operator.edges",),
    "scheme.finite_volume": ("operator.finite_volume",),
    "scheme.flow_edges": ("operator.flow_edges",),
    "scheme.moving": ("operator.moving",),
    "scheme.spectral": ("operator.spectral",),
    "scheme.tensor": ("operator.tensor",),
    "scheme.transfer": ("operator.transfer",),
    "score.error": ("score.learn.error",),
    "score.features": ("score.samples.features",),
    "score.fit": ("score.learn.fit",),
    "score.losses": ("score.learn.losses",),
    "score.networks": ("score.learn.networks", "score.learn.perceptron"),
    "score.path": ("score.noise_path",),
    "score.quality": ("score.samples.quality",),
    "score.sampled_costs": ("score.samples.costs",),
    "score.sampled_gap": ("score.samples.gap",),
    "score.training": ("score.learn.training",),
    "solution": ("solve.solution",),
    "testing.demand": ("testing.check",),
    "theorem.shelf": ("theorem.registry",),
}

# Functions that have another name in the module that holds them now, by the old name of
# the module.
RENAMED_FUNCTIONS = {
    "adiabatic.counterdiabatic": {"drive": "evolve_counterdiabatic"},
    "core.along": {"along": "apply_along_axis", "transform": "matmul_along_axis"},
}


class OldNames(MetaPathFinder, Loader):
    """Finds modules by their old names, and fills them with what the new ones hold."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        """A module of an old name; None for any other."""
        package, _, name = fullname.partition(".")
        if package != __package__ or name not in RENAMED:
            return None
        holds_more = any(old.startswith(f"{name}.") for old in RENAMED)
        return ModuleSpec(fullname, self, is_package=holds_more)

    def exec_module(self, module: ModuleType) -> None:
        """Warn, and copy the names."""
        old = module.__name__.partition(".")[2]
        new = [f"{__package__}.{name}" for name in RENAMED[old]]
        message = (
            f"{module.__name__} is now {' and '.join(new)}; the old name goes with the "
            "next release."
        )
        warnings.warn(message, DeprecationWarning, stacklevel=2)
        for name in reversed(new):
            held = vars(import_module(name))
            vars(module).update(
                {key: value for key, value in held.items() if not key.startswith("__")}
            )
        for before, now in RENAMED_FUNCTIONS.get(old, {}).items():
            setattr(module, before, getattr(module, now))


def install() -> None:
    """Have Python find the old names."""
    sys.meta_path.append(OldNames())
