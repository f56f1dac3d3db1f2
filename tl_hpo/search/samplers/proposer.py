"""What is replaceable in a GPyOpt search: model, acquisition, and the acquisition's search."""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from importlib.util import find_spec
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tl_hpo.errors import UserError, unknown

Array = NDArray[np.float64]

_MODELS = ("GP", "sparseGP", "GP_MCMC")  # the others of GPyOpt 1.2.6 fail with today's libraries
_ACQUISITIONS = ("EI", "MPI", "LCB")
_SEARCHES = {"lbfgs": None, "DIRECT": "DIRECT", "CMA": "cma"}  # and the module that each needs


class Proposer(Protocol):
    """Builds the GPyOpt object that proposes the next point, and reads its model.

    `GPyOptSampler` calls all methods inside `session`, with numpy's generator seeded. An
    implementation may return any `GPyOpt.core.BO`, for example a
    `GPyOpt.methods.ModularBayesianOptimization` with a `BOModel`, an `AcquisitionBase` and an
    `AcquisitionOptimizer` of its own, and may transform Y as long as `predict` undoes it.
    """

    def build(self, gpyopt: Any, domain: list[dict[str, Any]], X: Array, Y: Array) -> Any:
        """Return an object with `suggest_next_locations`, its model not yet fitted.

        Args:
            gpyopt: the module GPyOpt.
            domain: one entry per axis, as `GPyOpt.Design_space` takes it.
            X: past points, shape (n, n_axes).
            Y: their scores, less is better, finite, shape (n, 1).

        """

    def predict(self, built: Any, X: Array) -> tuple[Array, Array, Array]:
        """Return mean and standard deviation in the unit of Y, and the acquisition; each (n,).

        ``built`` has its model fitted. Larger acquisitions are more promising.
        """

    def largest_improvement(self, built: Any) -> float | None:
        """Return the largest expected improvement over the space, in the unit of Y.

        ``built`` has its model fitted. None where the acquisition is another.
        """


@dataclass(frozen=True)
class BayesianOptimizationProposer:
    """`GPyOpt.methods.BayesianOptimization`; every default is GPyOpt's own.

    Attributes:
        model_type: ``GP`` (Matern 5/2, maximum likelihood), ``sparseGP`` or ``GP_MCMC`` (slow).
        acquisition_type: ``EI``, ``MPI`` or ``LCB``; with ``GP_MCMC`` their ``_MCMC`` forms.
        acquisition_optimizer_type: ``lbfgs``, or ``DIRECT`` or ``CMA`` with their own packages.
        acquisition_jitter: improvement that EI and MPI ask for, in units of the normalised Y.
        acquisition_weight: standard deviations that LCB subtracts.
        normalize_Y: whether the scores get mean 0 and standard deviation 1 before the fit.
        exact_feval: whether scores are without noise.
        ARD: whether every column of the model's input has its own length scale.
        optimize_restarts: starts of the search for the model's parameters.
        de_duplication: whether points seen exactly so before are avoided.

    """

    model_type: str = "GP"
    acquisition_type: str = "EI"
    acquisition_optimizer_type: str = "lbfgs"
    acquisition_jitter: float = 0.01
    acquisition_weight: float = 2.0
    normalize_Y: bool = True  # noqa: N815 - GPyOpt's name
    exact_feval: bool = False
    ARD: bool = False
    optimize_restarts: int = 5
    de_duplication: bool = False

    def __post_init__(self) -> None:
        for field in fields(self):
            _check_type(field.name, getattr(self, field.name), field.default)
        _check_known("sampler.model_type", self.model_type, _MODELS)
        suffix = "_MCMC" if self.model_type == "GP_MCMC" else ""
        known = [name + suffix for name in _ACQUISITIONS]
        _check_known("sampler.acquisition_type", self.acquisition_type, known)
        search = self.acquisition_optimizer_type
        _check_known("sampler.acquisition_optimizer_type", search, _SEARCHES)
        module = _SEARCHES[search]
        if module is not None and find_spec(module) is None:
            raise UserError(
                f"sampler.acquisition_optimizer_type={search} must have the Python module "
                f"{module}, got none installed; install it or use lbfgs"
            )

    def build(self, gpyopt: Any, domain: list[dict[str, Any]], X: Array, Y: Array) -> Any:
        """Return the `BayesianOptimization` of these choices."""
        return gpyopt.methods.BayesianOptimization(f=None, domain=domain, X=X, Y=Y, **vars(self))

    def predict(self, built: Any, X: Array) -> tuple[Array, Array, Array]:
        """Return mean, standard deviation (noise included) and acquisition at X.

        The expected improvement is in the unit of Y, other acquisitions in GPyOpt's own.
        """
        columns = built.space.unzip_inputs(X)  # one-hot, as the model sees it
        mean, std = _mixture(*built.model.predict(columns))
        acquisition = -np.asarray(built.acquisition.acquisition_function(columns)).reshape(-1)
        shift, scale = (built.Y.mean(), built.Y.std() or 1.0) if self.normalize_Y else (0.0, 1.0)
        unit = scale if self.acquisition_type.startswith("EI") else 1.0
        return mean * scale + shift, std * scale, acquisition * unit

    def largest_improvement(self, built: Any) -> float | None:
        """Return the expected improvement, less the jitter, at the point that GPyOpt proposes."""
        if not self.acquisition_type.startswith("EI"):
            return None
        X = built.space.zip_inputs(built.acquisition.optimize()[0])
        return float(self.predict(built, X)[2][0])


def _mixture(means: Any, stds: Any) -> tuple[Array, Array]:
    """Return mean and standard deviation, (n,), over the samples of an MCMC model, if it is one."""
    if not isinstance(means, list):
        return np.asarray(means).reshape(-1), np.asarray(stds).reshape(-1)
    sampled = np.stack([np.reshape(mean, -1) for mean in means])
    variance = np.mean([np.reshape(std, -1) ** 2 for std in stds], axis=0) + sampled.var(axis=0)
    return sampled.mean(axis=0), np.sqrt(variance)


def _check_type(name: str, value: Any, default: Any) -> None:
    if isinstance(default, (bool, str)):
        good, rule = isinstance(value, type(default)), type(default).__name__
    else:
        least = 1 if isinstance(default, int) else 0
        good = isinstance(value, (type(default), int)) and least <= value < float("inf")
        rule = f"{type(default).__name__} of {least} or more"
    if not good:
        raise UserError(
            f"sampler.{name} must be a {rule}, got {value!r}; GPyOpt's default is {default!r}"
        )


def _check_known(kind: str, value: str, known: Iterable[str]) -> None:
    names = list(known)
    if value not in names:
        raise unknown(kind, value, names)
