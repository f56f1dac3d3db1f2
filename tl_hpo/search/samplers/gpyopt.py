"""`GPyOptSampler`: Optuna keeps the study, GPyOpt proposes the next point."""

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution
from optuna.search_space import intersection_search_space
from optuna.study import Study
from optuna.trial import FrozenTrial

from tl_hpo.errors import UserError, unknown
from tl_hpo.search.samplers import Conditions, Usual, ask_seed, check_n_initial
from tl_hpo.search.samplers._session import session
from tl_hpo.search.samplers.axes import Axes, Scale, searched
from tl_hpo.search.samplers.design import Design, random_design, sobol_point
from tl_hpo.search.samplers.mixed_proposer import MixedProposer
from tl_hpo.search.samplers.observations import (
    Observation,
    failures,
    lessons,
    pending,
    sign,
)
from tl_hpo.search.samplers.of_space import SeededSampler
from tl_hpo.search.samplers.proposer import BayesianOptimizationProposer, Proposer
from tl_hpo.search.samplers.surrogate import Surrogate, fit
from tl_hpo.search.samplers.surrogate import slices as slices_of
from tl_hpo.search.slices import Slice
from tl_hpo.search.study import FINISHED

_log = logging.getLogger(__name__)

_DRAWS = 16  # at random, for a point that has not failed; in a space without any, one must do

Kernel = Literal["mixed", "gpyopt"]


class GPyOptSampler(SeededSampler):
    """Proposes what GPyOpt, driven by hand with the same past trials and seed, proposes.

    Trial ``number`` < ``n_initial`` gets that row of an initial design, drawn with the seed
    ``seed``; every later one GPyOpt's suggestion, drawn with ``seed + number``. A proposal
    depends on the past and running trials, the seed and the number alone, so a restart changes
    nothing. GPyOpt minimises: of a study that maximises it gets minus the scores (see
    `observations` for which trials count). Running trials are told to it as pending points, and
    failed ones as points as bad as the worst (see `lessons`), whatever the kernel: GPyOpt itself
    ends where the function that it minimises fails, so there is no rule of its own to keep.

    Args:
        seed: not negative.
        space: distributions by parameter name. None: the parameters that all past trials share;
            then those of the first trial are drawn at random one by one.
        n_initial: trials of the initial design, at least 1.
        kernel: ``mixed``: the model and the search of `MixedProposer`; ``gpyopt``: GPyOpt's own.
        design: the initial one; ``sobol``: scrambled Sobol points; ``random``: GPyOpt's own.
        axes: ``unit``: every number scaled to [0, 1], logarithmic ones in log10, integers
            rounded; ``raw``: bounds and values as they are, as the paper drives GPyOpt.
        conditions: of the axes that do not always apply, see `Axes`.
        usual: of numeric axes, see `Axes`; for the kernel ``mixed`` and the design ``sobol``.
        cost_exponent: with the kernel ``mixed``, the expected improvement is divided by the
            expected seconds of the trial to this power, from 0 to 1. Above 0 proposals depend on
            how long past trials took, so that two searches of one seed may differ.
        proposer: model, acquisition and acquisition search in place of those of ``kernel``.
        **choices: with the kernel ``gpyopt``, see `BayesianOptimizationProposer`.

    Raises:
        UserError: an argument is out of its range, or has no effect with the kernel.

    """

    def __init__(
        self,
        *,
        seed: int,
        space: Mapping[str, BaseDistribution] | None = None,
        n_initial: int = 4,
        kernel: Kernel = "mixed",
        design: Design = "sobol",
        axes: Scale = "unit",
        conditions: Conditions | None = None,
        usual: Usual | None = None,
        cost_exponent: float = 0.0,
        proposer: Proposer | None = None,
        **choices: Any,
    ) -> None:
        if seed < 0:
            raise UserError(f"seed must be 0 or more, got {seed}; give another seed")
        _check_known("kernel", kernel, ("mixed", "gpyopt"))
        _check_known("design", design, ("sobol", "random"))
        _check_known("axes", axes, ("unit", "raw"))
        if proposer is not None and choices:
            raise TypeError(f"a proposer of one's own has its own choices, got {sorted(choices)}")
        super().__init__(seed)
        self.conditions = conditions
        self.space = None if space is None else searched(space, conditions)
        self.n_initial = check_n_initial(n_initial)
        self.usual = usual
        self.design: Design = design
        self.axes: Scale = axes
        self.proposer = proposer or _proposer_of(kernel, axes, cost_exponent, choices)
        self._told: set[str] = set()

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial | None = None
    ) -> dict[str, BaseDistribution]:
        """Return the space without its single-valued parameters."""
        if self.space is not None:
            return dict(self.space)
        shared = intersection_search_space(study.get_trials(deepcopy=False))
        return searched(shared, self.conditions)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return values for all parameters of ``search_space``, within their distributions."""
        self._raise_error_if_multi_objective(study)
        axes = self._axes(search_space)
        if not axes.space:
            return {}
        if trial.number < self.n_initial:
            return axes.decode(self._initial(axes, trial.number))
        row = self._suggest(study, axes, trial.number)
        if row is None:
            row = self._random(study, axes, trial.number)
        return axes.decode(row)

    def surrogate(self, study: Study) -> Surrogate | None:
        """Return the model fitted on all usable trials of a study, None where it has none."""
        axes = self._axes(self.infer_relative_search_space(study))
        past = lessons(study, axes)
        if not past or not axes.space:
            return None
        try:
            return fit(axes, past, sign(study.direction), self._proposer(axes), self.seed)
        except np.linalg.LinAlgError as error:
            _log.warning("GPyOpt's model cannot be fitted (%s); it is not shown", error)
            return None

    def expected_improvement(self, study: Study) -> float | None:
        """Return the largest expected improvement over the space, in the unit of the values.

        Trials that run or wait are as if they were not, so an interrupted search is told what an
        uninterrupted one is. None where there is no model, as long as the initial design lasts
        for example, or where the acquisition is another.
        """
        if len(study.get_trials(deepcopy=False, states=FINISHED)) < self.n_initial:
            return None
        surrogate = self.surrogate(study)
        return None if surrogate is None else surrogate.largest_improvement()

    def slices(self, study: Study, n: int = 200) -> list[Slice]:
        """Return the model along the axes of the space, for plots; see `surrogate.slices`."""
        surrogate = self.surrogate(study)
        return [] if surrogate is None else slices_of(surrogate, n)

    def _axes(self, space: Mapping[str, BaseDistribution]) -> Axes:
        return Axes(space, self.axes, self.conditions, self.usual)

    def _proposer(self, axes: Axes, past: Sequence[Observation] = ()) -> Proposer:
        """Return the proposer for a space; what ``past`` trials took, it may weigh."""
        if not isinstance(self.proposer, MixedProposer):
            return self.proposer
        seconds = tuple(math.nan if each.seconds is None else each.seconds for each in past)
        return replace(
            self.proposer, canonical=axes.canonical, features=axes.features, seconds=seconds
        )

    def _initial(self, axes: Axes, number: int) -> NDArray[np.float64]:
        """Return a point of the initial design, shape (n_axes,)."""
        if self.design == "sobol":
            return axes.near_the_usual(sobol_point(axes.domain(), number, self.seed))
        return random_design(axes.domain(), self.n_initial, self.seed)[number]

    def _suggest(self, study: Study, axes: Axes, number: int) -> NDArray[np.float64] | None:
        """Return GPyOpt's suggestion, shape (n_axes,); None where it has none."""
        past = lessons(study, axes)
        if not past:
            return None
        X = axes.encode([each.params for each in past])
        Y = sign(study.direction) * np.array([[each.score] for each in past])
        running = axes.encode(pending(study, axes, number))
        told = {"pending_X": running} if len(running) else {}
        proposer = self._proposer(axes, past)
        with session(self.seed + number) as gpyopt:
            try:
                built = proposer.build(gpyopt, axes.domain(), X, Y)
                row = np.asarray(built.suggest_next_locations(**told), dtype=float)[0]
            except gpyopt.core.errors.FullyExploredOptimizationDomainError:
                problem = "every point looked at has been tried"
            except np.linalg.LinAlgError as error:
                problem = f"GPyOpt's model cannot be fitted ({error})"
            else:
                if math.isfinite(row.sum()):
                    return row
                problem = "GPyOpt's suggestion is not a number"
        self._tell(problem)
        return None

    def _random(self, study: Study, axes: Axes, number: int) -> NDArray[np.float64]:
        """Return a random point, shape (n_axes,); one that has failed only if draws find no other.

        Before any trial has a score, this alone keeps a search from what has failed.
        """
        failed = axes.encode(failures(study, axes)).tolist()
        for draw in range(_DRAWS):
            seed = ask_seed(self.seed + number, draw) if draw else self.seed + number
            row = random_design(axes.domain(), 1, seed)[0]
            if axes.encode([axes.decode(row)])[0].tolist() not in failed:
                break
        return row

    def _tell(self, problem: str) -> None:
        if problem not in self._told:
            self._told.add(problem)
            _log.warning("%s; a random point is drawn instead", problem)


def _proposer_of(
    kernel: Kernel, axes: Scale, cost_exponent: float, choices: dict[str, Any]
) -> Proposer:
    """Return the proposer of a kernel, after a check that every choice has an effect."""
    own = BayesianOptimizationProposer(**choices)
    number = isinstance(cost_exponent, (int, float)) and not isinstance(cost_exponent, bool)
    if not number or not 0 <= cost_exponent <= 1 or (kernel == "gpyopt" and cost_exponent):
        raise UserError(
            "sampler.cost_exponent must be a number from 0 to 1, and 0 with sampler.kernel=gpyopt, "
            f"got {cost_exponent!r}; leave it out, or give 0.5 to save time"
        )
    if kernel == "gpyopt":
        return own
    given, default = {"axes": axes, **vars(own)}, {"axes": "unit", **vars(type(own)())}
    for name, value in given.items():
        if value != default[name]:
            raise UserError(
                f"sampler.{name} must be {default[name]} with sampler.kernel=mixed, got {value}; "
                "leave it out or set sampler=gpyopt_plain, which has GPyOpt's own kernel"
            )
    return MixedProposer(cost_exponent=cost_exponent)


def _check_known(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise unknown(f"sampler.{name}", value, known)
