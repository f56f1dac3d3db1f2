"""The parts of a `GPyOpt.methods.ModularBayesianOptimization` for a mixed space.

Imported inside `session` alone, as GPyOpt is. GPyOpt's model and acquisition see one-hot columns;
the parts see rows, with a category's index per axis.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from GPyOpt.acquisitions.base import AcquisitionBase
from GPyOpt.core.errors import FullyExploredOptimizationDomainError
from GPyOpt.core.evaluators import Sequential
from GPyOpt.core.task.space import Design_space
from GPyOpt.methods import ModularBayesianOptimization
from GPyOpt.models.base import BOModel
from GPyOpt.optimization.acquisition_optimizer import AcquisitionOptimizer
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

from tl_hpo.search.samplers.candidates import Map, search
from tl_hpo.search.samplers.expected_improvement import Output, log_improvement
from tl_hpo.search.samplers.mixed_gp import Array, Posterior, fit

_SAME = 1e-9  # coordinates this near are equal
_LEAST_COSTS = 3  # past trials of which the seconds are known
_SEEN = 5  # best past points around which the search looks besides


class Columns:
    """The one-hot columns of a space, and the rows that they stand for."""

    def __init__(self, domain: list[dict[str, Any]]) -> None:
        self.sizes = tuple(
            len(each["domain"]) if each["type"] == "categorical" else 0 for each in domain
        )
        self.categorical = np.array(self.sizes) > 0
        ends = np.cumsum([max(size, 1) for size in self.sizes])
        self._spans = [slice(end - max(k, 1), end) for end, k in zip(ends, self.sizes, strict=True)]

    def rows(self, columns: Array) -> Array:
        """Return rows (n, n_axes) of one-hot columns (n, n_columns)."""
        parts = [columns[:, span] for span in self._spans]
        rows = [part.argmax(1) if part.shape[1] > 1 else part[:, 0] for part in parts]
        return np.stack(rows, axis=1).astype(float)

    def one_hot(self, rows: Array) -> Array:
        """Return one-hot columns of rows."""
        parts = [
            np.eye(k)[rows[:, j].astype(int)] if k else rows[:, j, None]
            for j, k in enumerate(self.sizes)
        ]
        return np.hstack(parts)


class MixedModel(BOModel):
    """`Posterior` as GPyOpt has models."""

    def __init__(self, columns: Columns, rng: np.random.Generator, features: Map) -> None:
        self.columns, self._rng, self._features = columns, rng, features
        self.posterior: Posterior

    def updateModel(self, X_all: Array, Y_all: Array, X_new: Any, Y_new: Any) -> None:  # noqa: N802
        """Fit to all observations."""
        self.posterior = self.fitted(self.columns.rows(X_all), Y_all[:, 0])

    def fitted(self, rows: Array, outputs: Array) -> Posterior:
        """Return a process fitted to the outputs (n,) of rows (n, n_axes)."""
        return fit(rows, outputs, self.columns.categorical, self._rng, self._features)

    def add_pending(self, rows: Array) -> None:
        """Condition on the mean at rows that have no observation yet."""
        self.posterior = self.posterior.with_fantasies(rows)

    def predict(self, X: Array) -> tuple[Array, Array]:
        """Return mean and standard deviation without noise, each of shape (n, 1)."""
        mean, std = self.posterior.predict(self.columns.rows(X))
        return mean[:, None], std[:, None]

    def get_fmin(self) -> float:
        """Return the lowest mean at the data, those pending included."""
        return float(self.posterior.predict(self.posterior.X)[0].min())

    def get_model_parameters(self) -> Array:
        """Return a and l in the order of the axes, v, noise; shape (1, n_axes + 2)."""
        return np.exp(self.posterior.t)[None]


class LogExpectedImprovement(AcquisitionBase):
    """The logarithm of the expected improvement of the function on the lowest mean at the data.

    Attributes:
        log_cost: of rows, what is subtracted from it; None: nothing.

    """

    log_cost: Map | None = None

    def acquisition_function(self, x: Array) -> Array:
        """Return minus the acquisition, (n, 1); GPyOpt's own goes over x row by row."""
        return -self._compute_acq(x)

    def _compute_acq(self, x: Array) -> Array:
        return self.of_rows()(self.model.columns.rows(x))[:, None]

    def optimize(self, duplicate_manager: Any = None) -> Any:
        """Return what the optimizer finds; it searches rows, which need no conversion."""
        score = self.of_rows()
        return self.optimizer.optimize(f=lambda rows: -score(rows))

    def of_rows(self) -> Map:
        """Return the acquisition as a function of rows."""
        posterior, best, log_cost = self.model.posterior, self.model.get_fmin(), self.log_cost

        def score(rows: Array) -> Array:
            mean, std = posterior.predict(rows)
            improvement = log_improvement(mean, std, best)
            return improvement if log_cost is None else improvement - log_cost(rows)

        return score


class CandidateSearch(AcquisitionOptimizer):
    """`candidates.search`, without the points tried before."""

    def __init__(
        self, space: Design_space, model: MixedModel, rng: np.random.Generator, canonical: Map
    ) -> None:
        super().__init__(space)
        self.model, self._rng, self._canonical = model, rng, canonical

    def ranked(self, score: Map) -> tuple[Array, Array]:
        """Return rows, the best by ``score`` first, and their scores."""
        posterior = self.model.posterior
        seen = posterior.X[np.argsort(posterior.predict(posterior.X)[0], kind="stable")[:_SEEN]]
        return search(score, self.model.columns.sizes, seen, self._rng, self._canonical)

    def optimize(
        self, f: Any = None, df: Any = None, f_df: Any = None, duplicate_manager: Any = None
    ) -> tuple[Array, float]:
        """Return the untried point with the lowest f, one-hot, (1, n_columns), and its f.

        Unlike GPyOpt's, f is a function of rows.

        Raises:
            FullyExploredOptimizationDomainError: every point looked at has been tried.

        """
        tried = self.model.posterior.X
        for row, score in zip(*self.ranked(lambda rows: -f(rows)), strict=True):
            if not (np.abs(tried - row) < _SAME).all(axis=1).any():
                return self.model.columns.one_hot(row[None]), -float(score)
        raise FullyExploredOptimizationDomainError("every point looked at has been tried")


@functools.cache
def _threads() -> ThreadpoolController:
    return ThreadpoolController()


def _on_one_thread(method: Callable[..., Any]) -> Callable[..., Any]:
    """Keep the linear algebra of a method on one thread: their number changes the rounding."""

    @functools.wraps(method)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        with _threads().limit(limits=1, user_api="blas"):
            return method(*args, **kwargs)

    return wrapped


class MixedOptimization(ModularBayesianOptimization):
    """Bayesian optimisation of a mixed space, sequential, on one thread.

    Args:
        domain: of `GPyOpt.Design_space`, of categories 0..k-1 and numbers in [0, 1].
        X: rows of past points, shape (n, n_axes).
        Y: their scores, less is better, shape (n, 1).
        output: what the model sees of the scores.
        canonical: of rows, those that stand for the same points of the search space.
        features: of rows, what the model compares.
        rng: draws a start of the fit and the points looked at.

    """

    def __init__(
        self,
        domain: list[dict[str, Any]],
        X: Array,
        Y: Array,
        output: Output,
        canonical: Map,
        features: Map,
        rng: np.random.Generator,
    ) -> None:
        space = Design_space(domain)
        model = MixedModel(Columns(domain), rng, features)
        optimizer = CandidateSearch(space, model, rng, canonical)
        acquisition = LogExpectedImprovement(model, space, optimizer)
        evaluator = Sequential(acquisition)
        super().__init__(model, space, None, acquisition, evaluator, X, output.encode(Y))
        self.output = output

    @_on_one_thread
    def weigh_by_cost(self, X: Array, seconds: Array, exponent: float) -> None:
        """Divide the expected improvement by the expected seconds to a power.

        Their logarithm is modelled as the scores are. Too few known ones change nothing.

        Args:
            X: rows of past points, shape (n, n_axes).
            seconds: that they took, shape (n,); not a number where they are not known.
            exponent: above 0.

        """
        known = np.isfinite(seconds) & (seconds > 0)
        logs = np.log(seconds[known])
        if len(logs) < _LEAST_COSTS or logs.std() == 0.0:
            return
        model, mean, scale = self.model, logs.mean(), logs.std()
        of_costs = model.fitted(X[known], (logs - mean) / scale)
        self.acquisition.log_cost = lambda rows: exponent * scale * of_costs.predict(rows)[0]

    @_on_one_thread
    def predict(self, rows: Array) -> tuple[Array, Array, Array]:
        """Return mean, standard deviation with noise and expected improvement, in the unit of Y."""
        mean, std = self._unnormalised(*self.model.posterior.predict(rows))
        noise = self._scale * math.exp(0.5 * self.model.posterior.t[-1])
        return *self.output.decode(mean, np.hypot(std, noise)), self.improvement(rows)

    def improvement(self, rows: Array) -> Array:
        """Return the expected improvement in the unit of Y."""
        mean, std = self._unnormalised(*self.model.posterior.predict(rows))
        best, _ = self._unnormalised(self.model.get_fmin(), 0.0)
        return self.output.improvement(mean, std, float(best))

    @_on_one_thread
    def largest_improvement(self) -> float:
        """Return the largest expected improvement over the space, in the unit of Y."""
        return float(self.acquisition.optimizer.ranked(self.improvement)[1][0])

    @_on_one_thread
    def _compute_next_evaluations(
        self, pending_zipped_X: Any = None, ignored_zipped_X: Any = None
    ) -> Array:
        """Return the next point; GPyOpt itself would only leave out the pending ones."""
        if pending_zipped_X is not None:
            self.model.add_pending(pending_zipped_X)
        return super()._compute_next_evaluations()

    @_on_one_thread
    def _update_model(self, normalization_type: str = "stats") -> None:
        super()._update_model(normalization_type)

    @property
    def _scale(self) -> float:
        return float(self.Y.std()) or 1.0

    def _unnormalised(self, mean: Any, std: Any) -> tuple[Any, Any]:
        """Undo `GPyOpt.util.general.normalize`."""
        return self.Y.mean() + self._scale * mean, self._scale * std
