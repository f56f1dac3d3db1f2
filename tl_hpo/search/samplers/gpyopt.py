"""`GPyOptSampler`: Optuna keeps the study, GPyOpt proposes the next point."""

import logging
import math
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.search_space import intersection_search_space
from optuna.study import Study
from optuna.trial import FrozenTrial

from tl_hpo.errors import UserError, unknown
from tl_hpo.search.samplers import ask_seed, check_n_initial
from tl_hpo.search.samplers._session import session
from tl_hpo.search.samplers.axes import Axes, Scale, searched
from tl_hpo.search.samplers.observations import Observation, observations, sign
from tl_hpo.search.samplers.proposer import BayesianOptimizationProposer, Proposer, design
from tl_hpo.search.samplers.surrogate import Surrogate, fit
from tl_hpo.search.samplers.surrogate import slices as slices_of
from tl_hpo.search.slices import Slice

_log = logging.getLogger(__name__)


class GPyOptSampler(BaseSampler):
    """Proposes what GPyOpt, driven by hand with the same past trials and seed, proposes.

    Trial ``number`` < ``n_initial`` gets that row of one random initial design, drawn with the
    seed ``seed``; every later one GPyOpt's suggestion, drawn with ``seed + number``. A proposal
    depends on the past trials, the seed and the number alone, so a restart changes nothing.
    GPyOpt minimises: of a study that maximises it gets minus the scores (see `observations` for
    which trials count).

    Args:
        seed: not negative.
        space: distributions by parameter name. None: the parameters that all past trials share;
            then those of the first trial are drawn at random one by one.
        n_initial: trials of the initial design, at least 1.
        axes: ``unit``: every number scaled to [0, 1], logarithmic ones in log10, integers
            rounded; ``raw``: bounds and values as they are, as the paper drives GPyOpt.
        proposer: model, acquisition and acquisition search; None: GPyOpt's own.
        **choices: of GPyOpt's own, see `BayesianOptimizationProposer`.

    Raises:
        UserError: an argument is out of its range.

    """

    def __init__(
        self,
        *,
        seed: int,
        space: Mapping[str, BaseDistribution] | None = None,
        n_initial: int = 5,
        axes: Scale = "unit",
        proposer: Proposer | None = None,
        **choices: Any,
    ) -> None:
        if seed < 0:
            raise UserError(f"seed must be 0 or more, got {seed}; give another seed")
        if axes not in ("unit", "raw"):
            raise unknown("sampler.axes", axes, ("unit", "raw"))
        if proposer is not None and choices:
            raise TypeError(f"a proposer of one's own has its own choices, got {sorted(choices)}")
        self.seed = seed
        self.space = None if space is None else searched(space)
        self.n_initial = check_n_initial(n_initial)
        self.axes: Scale = axes
        self.proposer = proposer or BayesianOptimizationProposer(**choices)
        self._told: set[str] = set()

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial | None = None
    ) -> dict[str, BaseDistribution]:
        """Return the space without its single-valued parameters."""
        if self.space is not None:
            return dict(self.space)
        return searched(intersection_search_space(study.get_trials(deepcopy=False)))

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return values for all parameters of ``search_space``, within their distributions."""
        self._raise_error_if_multi_objective(study)
        axes = Axes(search_space, self.axes)
        if not axes.space:
            return {}
        if trial.number < self.n_initial:
            return axes.decode(design(axes.domain(), self.n_initial, self.seed)[trial.number])
        past = observations(study, axes)
        seed = self.seed + trial.number
        row = self._suggest(axes, past, sign(study.direction), seed) if past else None
        if row is None:
            row = design(axes.domain(), 1, seed)[0]
        return axes.decode(row)

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Draw a parameter that is outside the space at random; another seed for every name."""
        seed = ask_seed(self.seed + zlib.crc32(param_name.encode()), trial.number)
        random = RandomSampler(seed=seed)
        return random.sample_independent(study, trial, param_name, param_distribution)

    def surrogate(self, study: Study) -> Surrogate | None:
        """Return the model fitted on all usable trials of a study, None where it has none."""
        axes = Axes(self.infer_relative_search_space(study), self.axes)
        past = observations(study, axes)
        if not past or not axes.space:
            return None
        try:
            return fit(axes, past, sign(study.direction), self.proposer, self.seed)
        except np.linalg.LinAlgError as error:
            _log.warning("GPyOpt's model cannot be fitted (%s); it is not shown", error)
            return None

    def slices(self, study: Study, n: int = 200) -> list[Slice]:
        """Return the model along the axes of the space, for plots; see `surrogate.slices`."""
        surrogate = self.surrogate(study)
        return [] if surrogate is None else slices_of(surrogate, n)

    def _suggest(
        self, axes: Axes, past: list[Observation], factor: float, seed: int
    ) -> NDArray[np.float64] | None:
        """Return GPyOpt's suggestion, shape (n_axes,); None where it has none."""
        X = axes.encode([each.params for each in past])
        Y = factor * np.array([[each.score] for each in past])
        with session(seed) as gpyopt:
            try:
                built = self.proposer.build(gpyopt, axes.domain(), X, Y)
                row = np.asarray(built.suggest_next_locations(), dtype=float)[0]
            except gpyopt.core.errors.FullyExploredOptimizationDomainError:
                problem = "every point of the search space has been tried"
            except np.linalg.LinAlgError as error:
                problem = f"GPyOpt's model cannot be fitted ({error})"
            else:
                if math.isfinite(row.sum()):
                    return row
                problem = "GPyOpt's suggestion is not a number"
        self._tell(problem)
        return None

    def _tell(self, problem: str) -> None:
        if problem not in self._told:
            self._told.add(problem)
            _log.warning("%s; a random point is drawn instead", problem)
