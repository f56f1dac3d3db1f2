"""Early cancel: the paper's rule and its relative form."""

import math
from pathlib import Path

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from tl_hpo.errors import UserError
from tl_hpo.search.pruners import EarlyCancel, make_pruner

optuna.logging.set_verbosity(optuna.logging.WARNING)

CONF = Path(__file__).resolve().parents[2] / "conf" / "pruner"


def cancelled_at(pruner, values, share=None, direction="maximize"):
    """The epoch at which a trial with these accuracies is stopped, or None."""
    study = optuna.create_study(direction=direction, pruner=pruner)
    trial = study.ask()
    if share is not None:
        trial.set_user_attr("majority_share", share)
    for epoch, value in enumerate(values, 1):
        trial.report(value, epoch)
        if trial.should_prune():
            return epoch
    return None


def test_not_passing_half_in_five_epochs_cancels():
    assert cancelled_at(EarlyCancel(), [0.1, 0.2, 0.3, 0.4, 0.5, 0.9]) == 5


def test_passing_once_is_enough():
    assert cancelled_at(EarlyCancel(), [0.51, 0.1, 0.1, 0.1, 0.1, 0.1]) is None


def test_four_epochs_are_too_few_to_judge():
    assert cancelled_at(EarlyCancel(), [0.0] * 4) is None


def test_numbers_that_are_none_pass_nothing():
    assert cancelled_at(EarlyCancel(epochs=2), [math.nan, math.nan]) == 2


def test_relative_threshold_is_the_largest_class_and_a_margin():
    pruner = EarlyCancel(epochs=1, relative=True, margin=0.02)
    assert cancelled_at(pruner, [0.70], share=0.69) == 1
    assert cancelled_at(pruner, [0.72], share=0.69) is None
    assert cancelled_at(pruner, [0.2], share=0.125) is None


def test_relative_threshold_can_be_passed_where_one_class_is_nearly_everything():
    assert cancelled_at(EarlyCancel(epochs=1, relative=True), [0.996], share=0.99) is None


def test_relative_without_the_share_falls_back_to_the_absolute_threshold():
    assert cancelled_at(EarlyCancel(epochs=1, relative=True), [0.5]) == 1
    assert cancelled_at(EarlyCancel(epochs=1, relative=True), [0.51]) is None


@given(values=st.lists(st.floats(0, 1), max_size=12), epochs=st.integers(1, 6))
def test_rule_holds_for_all_curves(values, epochs):
    judged = [n for n in range(epochs, len(values) + 1) if max(values[:n]) <= 0.5]
    expected = judged[0] if judged else None
    assert cancelled_at(EarlyCancel(epochs=epochs), values) == expected


def test_objectives_that_are_minimised_are_refused():
    with pytest.raises(UserError, match="maximised"):
        cancelled_at(EarlyCancel(), [0.1], direction="minimize")


@pytest.mark.parametrize(
    "wrong",
    [
        {"threshold": -0.1},
        {"threshold": 1.1},
        {"threshold": math.nan},
        {"threshold": "half"},
        {"margin": math.inf},
        {"epochs": 0},
        {"epochs": 2.5},
    ],
)
def test_wrong_arguments_are_told_in_one_line(wrong):
    with pytest.raises(UserError, match=next(iter(wrong))) as error:
        EarlyCancel(**wrong)
    assert "\n" not in str(error.value)


def test_configs_make_their_pruners():
    pruner = make_pruner(OmegaConf.load(CONF / "early_cancel.yaml"))
    assert vars(pruner) == vars(EarlyCancel())
    assert cancelled_at(make_pruner(OmegaConf.load(CONF / "none.yaml")), [0.0] * 9) is None


def test_unknown_name_and_option_suggest_the_nearest():
    with pytest.raises(UserError, match="early_cancel"):
        make_pruner({"name": "early_cancle"})
    with pytest.raises(UserError, match="epochs"):
        make_pruner({"name": "early_cancel", "epoch": 5})
