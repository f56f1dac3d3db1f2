"""What a strategy may search: settings that a trial follows, and that all trials can be held to."""

from collections.abc import Sequence

from tl_hpo.config import MACHINE
from tl_hpo.errors import UserError
from tl_hpo.search.space import N_LAYERS, SearchSpace
from tl_hpo.search.strategy import Step

# One for all trials of an experiment, or nothing that a trial depends on.
_NOT_SEARCHED = frozenset(
    {"dataset", "split", "objective", "runs_dir", "name", "hydra", "save_model", "measure_test"}
).union(MACHINE)


def refuse_unfollowed_settings(keys: Sequence[str]) -> None:
    """Refuse settings of both phases' optimizer that the phases do not follow.

    Of ``optimizer``, the phases follow the choice and ``optimizer.lr``; which other settings an
    optimizer has depends on the choice.
    """
    for key in keys:
        if key.startswith("optimizer.") and key != "optimizer.lr":
            name = key.removeprefix("optimizer.")
            raise UserError(
                f"{name} of an optimizer must be set for each phase, got {key}; give "
                f"head.optimizer.{name}=... and finetune.optimizer.{name}=..."
            )


def check_axes(step: Step, space: SearchSpace) -> None:
    """Check that each axis of a step makes its trials differ, as far as its key tells.

    Raises:
        UserError: one does not.

    """
    for axis in space.dimensions:
        refuse_unfollowed_settings(axis.sets)
        for key in axis.sets:
            group = key.split(".")[0].split("@")[0]
            if group in _NOT_SEARCHED:
                raise UserError(
                    f"an axis of step {step.name} must be a setting that the trials of an "
                    f"experiment may differ in, got {key}; set it for all of them: "
                    f"{key}=VALUE on the command line."
                )
    _check_layers(step, space)


def _check_layers(step: Step, space: SearchSpace) -> None:
    """Refuse a number of layers as a bound where the trials of one study have several models."""
    searched = {key for axis in space.dimensions for key in axis.sets if axis.key != step.each}
    if searched.isdisjoint({"model", "model.name"}):
        return
    for axis in space.dimensions:
        table = {**(step.space[axis.key].get("range") or {}), **step.space[axis.key]}
        if N_LAYERS in (table.get("low"), table.get("high")):
            raise UserError(
                f"search space of {axis.key} must have numbers as bounds where step {step.name} "
                f"searches the model too, got {N_LAYERS}; take a share of the layers, "
                "{low: 0.0, high: 1.0}, or search it in a step of its own."
            )
