"""Pruners: what stops a trial that is not worth its time."""

from collections.abc import Mapping
from typing import Any

from optuna.pruners import BasePruner, NopPruner
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial

from tl_hpo.errors import UserError, unknown

MAJORITY_SHARE = "majority_share"  # user attribute of a trial: share of the largest class


class EarlyCancel(BasePruner):
    """The paper's early cancel: stop a trial that has not passed a threshold after some epochs.

    A trial reports its objective once per epoch, the epochs of both phases counted from 1. Once
    ``epochs`` of them are reported, it is stopped unless one of them was above the threshold.
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
        if not isinstance(epochs, int) or epochs < 1:
            raise UserError(
                f"pruner.epochs must be a whole number of at least 1, got {epochs}; "
                "use pruner=none to let every trial finish"
            )
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


def make_pruner(cfg: Mapping[str, Any], *, max_epochs: int | None = None) -> BasePruner:
    """Return the pruner of a config of ``conf/pruner``: ``name`` and that pruner's options.

    Raises:
        UserError: an unknown name or option, or an option out of its range.

    """
    options = {str(key): value for key, value in cfg.items()}
    name = str(options.pop("name", ""))
    if name not in _OPTIONS:
        raise unknown("pruner.name", name, _OPTIONS)
    for key in options:
        if key not in _OPTIONS[name]:
            raise unknown(f"option of pruner={name}", key, _OPTIONS[name])
    return EarlyCancel(**options) if name == "early_cancel" else NopPruner()


_OPTIONS = {"early_cancel": ("threshold", "epochs", "relative", "margin"), "none": ()}


def _check_share(kind: str, value: float) -> None:
    if not (isinstance(value, (int, float)) and 0 <= value <= 1):  # refuses NaN as well
        raise UserError(f"{kind} must be a number from 0 to 1, got {value}; give 0.5 for 50 %")
