"""Pruners: what stops a trial that is not worth its time.

A trial reports its objective after every epoch, at the epoch's step: fine-tuning counts from the
head epochs that were planned, so that all trials are in the same phase at the same step.
"""

import copy
import inspect
from collections.abc import Callable, Container, Mapping
from typing import Any, cast

from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner
from optuna.storages import BaseStorage
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from tl_hpo.errors import UserError, unknown
from tl_hpo.search.study import DUPLICATE_OF

MAJORITY_SHARE = "majority_share"  # user attribute of a trial: share of the largest class
_COMPLETED_RUNG = "completed_rung_"  # Optuna's system attributes of a trial, a number follows


class EarlyCancel(BasePruner):
    """The paper's early cancel: stop a trial that has not passed a threshold after some epochs.

    Once a trial has reported ``epochs`` epochs, whatever their steps, it is stopped unless one of
    them was above the threshold.
    Values that are not numbers pass nothing.

    Args:
        threshold: in [0, 1]; the paper's 0.5.
        epochs: at least 1; the paper's 5.
        relative: the threshold is the share of the largest class, which the trial holds as user
            attribute ``majority_share``, plus ``margin``; at most halfway from that share to 1.
            A trial without the attribute has the absolute threshold.
        margin: in [0, 1].

    Raises:
        UserError: an argument is out of its range.

    """

    def __init__(
        self,
        threshold: float = 0.5,
        epochs: int = 5,
        relative: bool = False,
        margin: float = 0.02,
    ) -> None:
        _check_share("pruner.threshold", threshold)
        _check_share("pruner.margin", margin)
        _check_count("pruner.epochs", epochs, 1)
        self.threshold = threshold
        self.epochs = epochs
        self.relative = relative
        self.margin = margin

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Tell whether to stop the trial now."""
        if study.direction != StudyDirection.MAXIMIZE:
            raise UserError(
                "pruner=early_cancel must have an objective that is maximised, got one that is "
                "minimised; use pruner=none"
            )
        values = trial.intermediate_values.values()
        if len(values) < self.epochs:
            return False
        threshold = self.threshold_of(trial)
        return not any(value > threshold for value in values)

    def threshold_of(self, trial: FrozenTrial) -> float:
        """Return what a trial has to pass, see the class."""
        share = trial.user_attrs.get(MAJORITY_SHARE)
        if not self.relative or share is None:
            return self.threshold
        # Halfway at most: where nearly all images are of one class, share + margin may exceed 1.
        return min(share + self.margin, (share + 1.0) / 2.0)


class _Trained(Study):
    """A study as if there were no trials that were told another's score, untrained."""

    def __init__(self, study: Study) -> None:
        vars(self).update(vars(study))

    def get_trials(
        self, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """Return the trials that were trained."""
        trials = super().get_trials(deepcopy=deepcopy, states=states)
        return [trial for trial in trials if DUPLICATE_OF not in trial.user_attrs]


class Median(MedianPruner):
    """Optuna's, in whose median every training counts once."""

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Tell whether to stop the trial now."""
        return bool(super().prune(_Trained(study), trial))


def median_pruner(
    n_startup_trials: int = 5, n_warmup_epochs: int = 0, interval: int = 1
) -> MedianPruner:
    """Return Optuna's: stop what is worse than the median of the others at the same epoch.

    Args:
        n_startup_trials: completed trials before any is stopped, at least 0.
        n_warmup_epochs: epochs before a trial is stopped, at least 0.
        interval: epochs from one check to the next, at least 1.

    Raises:
        UserError: an argument is out of its range.

    """
    _check_count("pruner.n_startup_trials", n_startup_trials, 0)
    _check_count("pruner.n_warmup_epochs", n_warmup_epochs, 0)
    _check_count("pruner.interval", interval, 1)
    return Median(n_startup_trials, n_warmup_epochs, interval)


class Hyperband(BasePruner):
    """Optuna's Hyperband (Li et al., 2018): brackets of asynchronous successive halving.

    A trial's bracket follows from its number. At ``min_epochs`` times a power of
    ``reduction_factor`` it is stopped unless it is among the best 1 / ``reduction_factor`` of
    those of its bracket so far; brackets differ in the first such epoch. Wrapped because Optuna
    shows samplers only the trials of one bracket, which at ten trials a search are too few to
    learn from, and all trials until a trial has reported, so that a restart would change the next.
    And because Optuna keeps which rungs a trial has passed, even those of a run of it that was
    interrupted: here the epochs given tell, and what the trial came to earlier is no competitor.

    Args:
        min_epochs: epochs before a trial is stopped, at least 1.
        reduction_factor: at least 2.
        max_epochs: planned for a trial, both phases, at least 1; fewer than ``min_epochs`` stop
            no trial. ``auto``: those of the trials that are complete when one is first judged.

    Raises:
        UserError: an argument is out of its range.

    """

    def __init__(
        self, min_epochs: int = 1, reduction_factor: int = 3, max_epochs: int | str = "auto"
    ) -> None:
        _check_count("pruner.min_epochs", min_epochs, 1)
        _check_count("pruner.reduction_factor", reduction_factor, 2)
        if max_epochs != "auto":
            _check_count("pruner.max_epochs", max_epochs, 1)
            max_epochs = max(min_epochs, int(max_epochs))
        self._min_epochs = min_epochs
        self._reduction_factor = reduction_factor
        self._pruner = HyperbandPruner(min_epochs, max_epochs, reduction_factor)

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Tell whether to stop the trial now."""
        others = copy.copy(study)
        others._storage = cast(BaseStorage, _Without(study._storage, trial._trial_id))
        return self._pruner.prune(others, self._on_its_rung(study, trial))

    def _on_its_rung(self, study: Study, trial: FrozenTrial) -> FrozenTrial:
        """Return the trial as having passed the rungs that its epochs but the last have reached."""
        if not self._pruner._pruners:  # else every trial were of the first bracket
            self._pruner._try_initialization(study)
        past = sorted(trial.intermediate_values)[:-1]
        bracket = self._pruner._get_bracket_id(study, trial)
        passed = copy.copy(trial)
        passed.system_attrs = {
            key: value
            for key, value in trial.system_attrs.items()
            if not key.startswith(_COMPLETED_RUNG)
        }
        rung = 0
        while past and past[-1] >= self._min_epochs * self._reduction_factor ** (bracket + rung):
            passed.system_attrs[f"{_COMPLETED_RUNG}{rung}"] = None
            rung += 1
        return passed


class _Without:
    """A storage that shows all trials but one."""

    def __init__(self, storage: BaseStorage, trial_id: int) -> None:
        self._storage = storage
        self._trial_id = trial_id

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    def get_all_trials(self, *args: Any, **kwargs: Any) -> list[FrozenTrial]:
        """Return the others."""
        trials = self._storage.get_all_trials(*args, **kwargs)
        return [trial for trial in trials if trial._trial_id != self._trial_id]


def make_pruner(cfg: Mapping[str, Any], *, max_epochs: int | None = None) -> BasePruner:
    """Return the pruner of a config of ``conf/pruner``: ``name`` and that pruner's options.

    Args:
        cfg: see there.
        max_epochs: planned for a trial in both phases; what ``max_epochs: auto`` stands for.
            Where it is not given, or 0, trials that are complete tell.

    Raises:
        UserError: an unknown name or option, or an option out of its range.

    """
    options = {str(key): value for key, value in cfg.items()}
    name = str(options.pop("name", ""))
    if name not in _PRUNERS:
        raise unknown("pruner.name", name, _PRUNERS)
    make = _PRUNERS[name]
    known = inspect.signature(make).parameters
    for key in options:
        if key not in known:
            raise unknown(f"option of pruner={name}", key, known)
    if options.get("max_epochs") == "auto" and max_epochs:
        options["max_epochs"] = max_epochs
    return make(**options)


_PRUNERS: dict[str, Callable[..., BasePruner]] = {
    "early_cancel": EarlyCancel,
    "hyperband": Hyperband,
    "median": median_pruner,
    "none": NopPruner,
}


def _check_count(kind: str, value: Any, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise UserError(
            f"{kind} must be a whole number of at least {least}, got {value!r}; "
            "use pruner=none to let every trial finish"
        )


def _check_share(kind: str, value: float) -> None:
    if not (isinstance(value, (int, float)) and 0 <= value <= 1):  # refuses NaN as well
        raise UserError(f"{kind} must be a number from 0 to 1, got {value}; give 0.5 for 50 %")
