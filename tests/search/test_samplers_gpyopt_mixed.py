"""The search over combinations, the initial design, pending points, conditions, stopping."""

import itertools
import logging
import math

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial
from scipy.stats import qmc
from threadpoolctl import threadpool_limits

from tl_hpo.search.samplers import candidates, make_sampler
from tl_hpo.search.samplers._session import session
from tl_hpo.search.samplers.gpyopt import GPyOptSampler

optuna.logging.set_verbosity(optuna.logging.WARNING)

SPACE = {
    "model": CategoricalDistribution(("vgg16", "resnet50", "xception")),
    "optimizer": CategoricalDistribution(("sgd", "adam")),
    "lr": FloatDistribution(1e-4, 1.0, log=True),
    "depth": FloatDistribution(0.0, 1.0),
}
MOMENTUM = {**SPACE, "momentum": FloatDistribution(0.0, 0.99)}
SGD_ONLY = {"momentum": {"optimizer": ("sgd",)}}


def accuracy(p):
    bonus = {"vgg16": 0.0, "resnet50": 0.03, "xception": 0.05}[p["model"]]
    return 0.9 + bonus - 0.1 * (math.log10(p["lr"]) + 2) ** 2 - 0.05 * (p["depth"] - 0.3) ** 2


def studied(n, space=SPACE, objective=accuracy, direction="maximize", **options):
    sampler = GPyOptSampler(seed=3, space=space, **options)
    study = optuna.create_study(direction=direction, sampler=sampler)
    for _ in range(n):
        trial = study.ask(fixed_distributions=space)
        study.tell(trial, objective(trial.params))
    return study


def asked(study, n, space=SPACE):
    return [study.ask(fixed_distributions=space).params for _ in range(n)]


def itself(rows):
    return rows


def nothing(rows):
    return np.zeros(len(rows))


@pytest.mark.parametrize(("sizes", "each"), [((4, 0, 7, 0), 64), ((9, 7, 7, 0), 37), ((3, 2), 1)])
def test_every_combination_is_looked_at_and_as_often(sizes, each):
    seen = np.zeros((0, len(sizes)))
    rows = []
    candidates.search(
        lambda X: rows.append(X) or nothing(X), sizes, seen, np.random.default_rng(0), itself
    )
    categories = rows[0][:, np.array(sizes) > 0]
    found, counts = np.unique(categories, axis=0, return_counts=True)
    assert [tuple(c) for c in found] == list(itertools.product(*(range(k) for k in sizes if k)))
    assert set(counts) == {each}
    assert ((rows[0] >= 0) & (rows[0] <= np.maximum(np.array(sizes) - 1, 1))).all()


def test_of_too_many_combinations_those_seen_are_always_looked_at():
    sizes = (20, 20, 20, 0)
    seen = np.array([[19, 0, 7, 0.3], [3, 3, 3, 0.9]])
    rows = candidates.combinations(sizes, seen, np.random.default_rng(0), itself)
    assert 1500 < len(rows) <= candidates.MOST_COMBINATIONS
    assert len(np.unique(rows[:, :3], axis=0)) == len(rows)
    assert {(19, 0, 7), (3, 3, 3)} <= {tuple(row[:3]) for row in rows}


def test_search_finds_the_top_of_a_narrow_peak():
    top = np.array([2, 0.731, 0.262])

    def score(X):
        return -((X[:, 1:] - top[1:]) ** 2).sum(1) - (X[:, 0] != 2)

    seen = np.zeros((0, 3))
    rows, scores = candidates.search(score, (5, 0, 0), seen, np.random.default_rng(0), itself)
    assert rows[0] == pytest.approx(top, abs=0.01)
    assert (np.diff(scores) <= 0).all()
    assert scores == pytest.approx(score(rows))


@pytest.mark.parametrize("seed", [0, 11])
def test_sobol_design_is_the_scrambled_sequence_of_the_seed(seed):
    sampler = GPyOptSampler(seed=seed, space=SPACE, n_initial=8)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    params = asked(study, 8)
    points = qmc.Sobol(4, scramble=True, rng=seed).random(8)
    for found, u in zip(params, points, strict=True):
        assert found["model"] == SPACE["model"].choices[int(u[0] * 3)]
        assert found["optimizer"] == SPACE["optimizer"].choices[int(u[1] * 2)]
        assert found["lr"] == pytest.approx(10 ** (4 * u[2] - 4))
        assert found["depth"] == pytest.approx(u[3])


def test_rows_of_the_sobol_design_depend_on_seed_and_number_alone():
    short = studied(4, n_initial=4)
    long = studied(4, n_initial=20, objective=lambda p: 0.5)
    assert [t.params for t in short.trials] == [t.params for t in long.trials]


def test_a_search_begins_with_four_points():
    assert make_sampler({"name": "gpyopt"}, SPACE, 0).n_initial == 4


@pytest.mark.parametrize("n_initial", [2, 6])
def test_running_trials_are_never_proposed_again(n_initial):
    space = {"model": SPACE["model"], "layer": IntDistribution(0, 3)}
    study = studied(4, space, lambda p: 0.8 + 0.01 * p["layer"], n_initial=n_initial)
    past = [tuple(trial.params.values()) for trial in study.trials]
    study.sampler = GPyOptSampler(seed=3, space=space, n_initial=2)
    points = [tuple(each.values()) for each in asked(study, 12 - len(set(past)), space)]
    assert len({*past, *points}) == 12


def test_running_trials_spread_the_proposals():
    study = studied(10, n_initial=4)
    first, second = asked(study, 2)
    fresh = studied(10, n_initial=4)
    fresh.add_trial(create_trial(state=TrialState.FAIL, params={}, distributions={}))
    assert asked(fresh, 1)[0] != second  # the same number, but nothing runs
    assert first != second


def test_everything_tried_is_told(caplog):
    space = {"model": SPACE["model"], "optimizer": SPACE["optimizer"]}
    with caplog.at_level(logging.WARNING, logger="tl_hpo"):
        study = studied(8, space, lambda p: 0.5, n_initial=1)
    assert len({tuple(t.params.values()) for t in study.trials[:6]}) == 6
    assert any("has been tried" in record.message for record in caplog.records)


def conditional(study, momentum):
    """The same past, with other values of momentum where it does not apply."""
    copy = optuna.create_study(direction="maximize", sampler=study.sampler)
    for trial in study.trials:
        params = dict(trial.params)
        if params["optimizer"] != "sgd":
            params["momentum"] = momentum
        copy.add_trial(create_trial(value=trial.value, params=params, distributions=MOMENTUM))
    return copy


@settings(max_examples=5, deadline=None)
@given(momentum=st.floats(0.0, 0.99))
def test_values_that_do_not_apply_change_no_proposal(momentum):
    study = studied(8, MOMENTUM, conditions=SGD_ONLY)
    assert {t.params["optimizer"] for t in study.trials} == {"sgd", "adam"}
    changed = conditional(study, momentum)
    assert asked(changed, 1, MOMENTUM) == asked(conditional(study, 0.5), 1, MOMENTUM)
    predicted = [
        study.sampler.surrogate(each).predict([study.trials[0].params]) for each in (study, changed)
    ]
    np.testing.assert_array_equal(*predicted)


def test_an_axis_that_does_not_apply_is_proposed_at_its_middle():
    study = studied(16, MOMENTUM, conditions=SGD_ONLY)
    proposed = [t.params for t in study.trials[4:]]
    off = [p["momentum"] for p in proposed if p["optimizer"] != "sgd"]
    on = {p["momentum"] for p in proposed if p["optimizer"] == "sgd"}
    assert off
    assert off == pytest.approx([0.495] * len(off))
    assert len(on) > 1


@pytest.mark.parametrize(("only", "searched"), [("adam", False), ("sgd", True)])
def test_an_axis_that_a_fixed_value_rules_out_is_not_searched(only, searched):
    space = {**MOMENTUM, "optimizer": CategoricalDistribution((only,))}
    sampler = GPyOptSampler(seed=0, space=space, conditions=SGD_ONLY)
    relative = sampler.infer_relative_search_space(optuna.create_study())
    assert ("momentum" in relative) == searched


def test_conditions_reach_the_sampler_by_name():
    sampler = make_sampler({"name": "gpyopt"}, MOMENTUM, 0, conditions=SGD_ONLY)
    assert sampler.conditions == SGD_ONLY


def test_no_expected_improvement_as_long_as_there_is_no_model():
    sampler = GPyOptSampler(seed=0, space=SPACE)
    assert sampler.expected_improvement(optuna.create_study(direction="maximize")) is None
    study = studied(3, n_initial=4)
    assert study.sampler.expected_improvement(study) is None


@pytest.mark.parametrize("kernel", ["mixed", "gpyopt"])
def test_expected_improvement_vanishes_as_the_search_goes_on(kernel):
    space = {"lr": SPACE["lr"]}
    sampler = GPyOptSampler(seed=0, space=space, kernel=kernel)
    before, after = (
        sampler.expected_improvement(
            studied(n, space, lambda p: accuracy({"model": "vgg16", "depth": 0.3, **p}))
        )
        for n in (4, 20)
    )
    assert 1 > before > after >= 0
    assert after < 0.002


def test_expected_improvement_is_the_largest_of_the_surrogate():
    study = studied(12)
    largest = study.sampler.expected_improvement(study)
    surrogate = study.sampler.surrogate(study)
    draws = qmc.Sobol(2, rng=0).random(64)
    points = [
        {"model": m, "optimizer": o, "lr": 10 ** (4 * u - 4), "depth": d}
        for m, o in itertools.product(*(SPACE[name].choices for name in ("model", "optimizer")))
        for u, d in draws
    ]
    improvement = surrogate.predict(points)[2]
    assert largest >= improvement.max() > 0
    assert largest < 10 * improvement.max()


def test_other_acquisitions_have_no_expected_improvement():
    sampler = GPyOptSampler(seed=0, space=SPACE, kernel="gpyopt", acquisition_type="LCB")
    assert sampler.expected_improvement(studied(6)) is None


@pytest.mark.parametrize("n_threads", [2])
def test_threads_change_no_proposal(n_threads):
    with session(0), threadpool_limits(limits=n_threads, user_api="blas"):
        several = studied(10)
    with threadpool_limits(limits=1, user_api="blas"):
        one = studied(10)
    assert [t.params for t in several.trials] == [t.params for t in one.trials]


@pytest.mark.parametrize(
    ("direction", "objective"),
    [("minimize", lambda p: 1 - accuracy(p)), ("maximize", lambda p: 100 * accuracy(p))],
)
def test_scores_that_are_no_accuracies_are_searched_too(direction, objective):
    study = studied(20, objective=objective, direction=direction)
    assert study.best_params["model"] == "xception"
    assert accuracy(study.best_params) > 0.94
