import math

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.trial import TrialState, create_trial

from tl_hpo.files import read_csv
from tl_hpo.search.importance import EQUAL, importances, write_importance
from tl_hpo.search.study import DUPLICATE_OF

SPACE = {
    "model": CategoricalDistribution(("vgg16", "resnet50", "xception")),
    "lr": FloatDistribution(1e-4, 1.0, log=True),
    "depth": FloatDistribution(0.0, 1.0),
    "layer": IntDistribution(0, 20),
}
EVEN = {name: SPACE[name] for name in ("model", "depth", "layer")}


def points(n, space=SPACE, seed=0):
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=seed))
    return [study.ask(fixed_distributions=space).params for _ in range(n)]


def study_of(rows, space=SPACE, direction="maximize"):
    """A study of one trial per (params, score, state, values by epoch)."""
    study = optuna.create_study(direction=direction)
    for params, score, state, epochs in rows:
        study.add_trial(
            create_trial(
                params=params,
                distributions=space,
                state=state,
                value=score,
                intermediate_values=dict(enumerate(epochs, 1)),
            )
        )
    return study


def completed(params, objective, space=SPACE):
    return study_of([(p, objective(p), TrialState.COMPLETE, ()) for p in params], space)


def by_model(p):
    return 0.3 * (p["model"] == "vgg16") + 0.001 * p["depth"]


def by_rate(p):
    return -abs(math.log10(p["lr"]) + 2) + 0.001 * p["depth"]


@pytest.mark.parametrize(("objective", "name"), [(by_model, "model"), (by_rate, "lr")])
def test_the_parameter_that_dominates_comes_first(objective, name):
    shares = importances({"joint": completed(points(40), objective)})["joint"]
    assert next(iter(shares)) == name
    assert shares[name] > 0.8
    assert sum(shares.values()) == pytest.approx(1)


def test_even_axes_of_complete_trials_are_as_optuna_has_them():
    study = completed(points(20, EVEN), by_model, EVEN)
    theirs = get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=3))
    assert importances({"a": study}, seed=3)["a"] == pytest.approx(theirs)


def test_a_logarithmic_axis_is_an_even_one_of_the_logarithm():
    rows = points(20)
    logarithms = [p | {"lr": math.log10(p["lr"])} for p in rows]
    space = SPACE | {"lr": FloatDistribution(-4.0, 0.0)}
    scores = {p["depth"]: by_rate(p) for p in rows}
    study = completed(logarithms, lambda p: scores[p["depth"]], space)
    theirs = get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=0))
    assert importances({"a": completed(rows, by_rate)})["a"] == pytest.approx(theirs)


def test_a_pruned_trial_counts_with_its_best_epoch_and_a_failed_one_not_at_all():
    rows = points(12, EVEN)
    told, failed = rows[:10], rows[10:]
    mixed = [
        (p, by_model(p), TrialState.COMPLETE, ())
        if index % 2
        else (p, None, TrialState.PRUNED, (0.0, by_model(p), 0.0))
        for index, p in enumerate(told)
    ]
    mixed += [(p, None, TrialState.FAIL, (9.0,)) for p in failed]
    expected = importances({"a": completed(told, by_model, EVEN)})
    assert importances({"a": study_of(mixed, EVEN)}) == expected


@settings(max_examples=15, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=4, max_size=12), st.integers(0, 99))
def test_shares_sum_to_one_in_falling_order_and_repeat(scores, seed):
    rows = points(len(scores), seed=seed)
    study = study_of(
        [(p, s, TrialState.COMPLETE, ()) for p, s in zip(rows, scores, strict=True)],
    )
    found = importances({"a": study}, seed)
    assert bool(found) == (max(scores) - min(scores) >= EQUAL)
    for shares in found.values():
        assert set(shares) == set(SPACE)
        assert sum(shares.values()) == pytest.approx(1)
        assert list(shares.values()) == sorted(shares.values(), reverse=True)
    assert importances({"a": study}, seed) == found


ONE_AXIS = {"depth": SPACE["depth"], "layer": IntDistribution(3, 3)}


@pytest.mark.parametrize(
    "study",
    [
        optuna.create_study(),
        completed(points(3), by_model),
        completed(points(8, ONE_AXIS), lambda p: p["depth"], ONE_AXIS),
        completed(points(8), lambda p: 0.5),
        study_of([(points(1)[0], n / 10, TrialState.COMPLETE, ()) for n in range(5)]),
        study_of([(p, None, TrialState.FAIL, ()) for p in points(8)]),
        study_of([(p, None, TrialState.PRUNED, ()) for p in points(8)]),
    ],
    ids=["none", "three", "one axis", "equal", "one point", "failed", "pruned unheard"],
)
def test_a_step_of_which_nothing_can_be_told_is_left_out(study):
    rich = completed(points(8), by_model)
    assert list(importances({"a": study, "rich": rich})) == ["rich"]


def test_an_axis_whose_bounds_changed_is_left_out():
    rows = [(p, by_model(p), TrialState.COMPLETE, ()) for p in points(8)]
    study = study_of(rows[:4])
    wider = SPACE | {"layer": IntDistribution(0, 30)}
    study.add_trials(study_of(rows[4:], wider).trials)
    assert set(importances({"a": study})["a"]) == set(SPACE) - {"layer"}


def test_importance_csv_has_a_row_per_parameter_with_its_rank(tmp_path):
    shares = {"joint": {"lr": 0.7, "model": 0.3}, "head": {"optimizer": 1.0}}
    write_importance(tmp_path / "importance.csv", shares)
    assert read_csv(tmp_path / "importance.csv") == [
        {"step": "joint", "parameter": "lr", "importance": "0.7", "rank": "1"},
        {"step": "joint", "parameter": "model", "importance": "0.3", "rank": "2"},
        {"step": "head", "parameter": "optimizer", "importance": "1.0", "rank": "1"},
    ]


def test_a_trial_that_was_told_the_score_of_another_does_not_count():
    study = completed(points(12), by_model)
    expected = importances({"joint": study})
    for twin in study.trials[:6]:
        study.add_trial(
            create_trial(
                params=twin.params | {"depth": 0.5},
                distributions=SPACE,
                value=twin.value,
                user_attrs={DUPLICATE_OF: twin.number},
            )
        )
    assert importances({"joint": study}) == expected
