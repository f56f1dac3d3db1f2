import pytest
from optuna.trial import create_trial

from tl_hpo.search.study import OVERRIDES, POINT
from tl_hpo.search.usual_axes import further_settings, short_value, told_once, values_along


def trial(point, overrides=()):
    return create_trial(value=0.5, user_attrs={POINT: point, OVERRIDES: [*overrides, *point]})


def test_what_a_step_chose_beyond_the_usual_axes_in_the_order_of_its_first_trial():
    usual = ["model=timm", "model.name=vgg13", "optimizer=adam", "head.optimizer.lr=0.1"]
    first = trial([*usual, "optimizer@head.optimizer=sgd", "delimiting_layer=3", "imbalance=none"])
    second = trial(["batch_size=8", "imbalance=class_weights"])
    assert further_settings([first, second]) == ["imbalance", "batch_size"]


def test_a_trial_has_what_an_earlier_step_chose_and_no_value_where_an_axis_did_not_apply():
    own = trial(["delimiting_layer=3"], ["batch_size=8", "seed=0"])
    assert values_along(own, ["batch_size", "momentum"]) == {"batch_size": "8"}


def test_what_the_step_chose_counts_not_what_ran_for_lack_of_memory():
    own = create_trial(
        value=0.5,
        user_attrs={POINT: ["batch_size=32"], OVERRIDES: ["batch_size=16", "accumulate=2"]},
    )
    assert values_along(own, ["batch_size"]) == {"batch_size": "32"}


def test_trials_that_have_not_begun_have_none():
    assert further_settings([create_trial(value=0.5)]) == []
    assert values_along(create_trial(value=0.5), ["batch_size"]) == {}


@pytest.mark.parametrize(
    ("text", "told"),
    [("0.1880576027277857", "0.1881"), ("16", "16"), ("131072", "131072"), ("1e-05", "1e-05"),
     ("cosine", "cosine"), ("nan", "nan"), ("0.30000000000000004", "0.3"), ("true", "true")],
)  # fmt: skip
def test_a_value_is_told_in_few_digits(text, told):
    assert short_value(text) == told


def test_what_both_phases_have_alike_is_told_once():
    rows = [
        {"head.optimizer.momentum": "0.1", "finetune.optimizer.momentum": "0.1", "batch_size": "8"},
        {"head.optimizer.momentum": "0.9", "finetune.optimizer.momentum": "0.9"},
    ]
    assert told_once(rows) == [
        {"optimizer.momentum": "0.1", "batch_size": "8"}, {"optimizer.momentum": "0.9"}
    ]  # fmt: skip
    rows.append({"head.optimizer.momentum": "0.9", "finetune.optimizer.momentum": "0.2"})
    assert told_once(rows) == rows
    assert told_once([]) == []
