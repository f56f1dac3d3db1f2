"""Which trials the GPyOpt sampler learns from, degenerate pasts and spaces, and side effects."""

import functools
import logging
import math
import warnings

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial

from tl_hpo.search.samplers._session import session
from tl_hpo.search.samplers.axes import Axes
from tl_hpo.search.samplers.gpyopt import GPyOptSampler
from tl_hpo.search.samplers.observations import lessons

optuna.logging.set_verbosity(optuna.logging.WARNING)


pytestmark = pytest.mark.usefixtures("one_thread")


SPACE = {
    "model": CategoricalDistribution(("vgg16", "resnet50", "xception")),
    "lr": FloatDistribution(1e-4, 1.0, log=True),
    "layer": IntDistribution(0, 40),
    "momentum": FloatDistribution(0.0, 1.0),
}


def accuracy(p):
    return 0.2 + 0.5 * math.exp(-((math.log10(p["lr"]) + 2) ** 2)) + 0.002 * p["layer"]


def studied(sampler, n, objective=accuracy, space=SPACE):
    study = optuna.create_study(direction="maximize", sampler=sampler)
    for _ in range(n):
        trial = study.ask(fixed_distributions=space)
        study.tell(trial, objective(trial.params))
    return study


def next_params(study, **kwargs):
    study.sampler = GPyOptSampler(seed=0, space=SPACE, n_initial=1, **kwargs)
    return study.ask(fixed_distributions=SPACE).params


def past(states, direction="maximize"):
    """A study of one trial per (state, value, intermediate values), their points random."""
    study = optuna.create_study(direction=direction)
    points = studied(optuna.samplers.RandomSampler(seed=0), len(states)).trials
    for point, (state, value, reported) in zip(points, states, strict=True):
        study.add_trial(
            create_trial(
                state=state,
                value=value,
                params=point.params,
                distributions=SPACE,
                intermediate_values=dict(enumerate(reported, 1)),
            )
        )
    return study


COMPLETE, PRUNED, FAIL = TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL
GOOD = [(COMPLETE, 0.3 + 0.1 * i, []) for i in range(4)]


@functools.cache
def without_the_last():
    """What follows GOOD; a trial without a point takes the number of the one in question."""
    study = past(GOOD)
    study.add_trial(create_trial(state=FAIL, params={}, distributions={}))
    return next_params(study)


@pytest.mark.parametrize(
    "unusable",
    [
        (COMPLETE, math.inf, []),
        (COMPLETE, -math.inf, []),
        (PRUNED, None, []),
        (PRUNED, None, [math.nan]),
    ],
)
def test_unusable_trials_change_nothing(unusable):
    assert next_params(past([*GOOD, unusable])) == without_the_last()


@pytest.mark.parametrize("kernel", ["mixed", "gpyopt"])
@pytest.mark.parametrize(("direction", "worst"), [("maximize", 0.3), ("minimize", 0.6)])
def test_failed_trial_counts_as_the_worst(direction, worst, kernel):
    failed = past([*GOOD, (FAIL, None, [0.9])], direction)
    complete = past([*GOOD, (COMPLETE, worst, [])], direction)
    expected = pytest.approx(next_params(complete, kernel=kernel))  # scores are negated, or not
    assert next_params(failed, kernel=kernel) == expected


def test_point_that_failed_counts_once_and_not_at_all_once_it_is_trained():
    axes = Axes(SPACE)
    study = past([*GOOD, (FAIL, None, []), (FAIL, None, [])])
    first, second = study.trials[-2:]
    study.add_trial(first)
    assert [each.params for each in lessons(study, axes) if each.failed] == [
        first.params,
        second.params,
    ]
    study.add_trial(create_trial(value=0.9, params=first.params, distributions=SPACE))
    learned = lessons(study, axes)
    assert [each.params for each in learned if each.failed] == [second.params]
    assert len(learned) == len(GOOD) + 2


def test_surrogate_shows_no_score_of_a_failed_trial():
    study = past([*GOOD, (FAIL, None, [])])
    surrogate = GPyOptSampler(seed=0, space=SPACE).surrogate(study)
    assert len(surrogate.past) == len(GOOD)
    failed, best = study.trials[-1].params, study.trials[-2].params
    mean, _, _ = surrogate.predict([failed, best])
    assert mean[0] < mean[1]


@pytest.mark.parametrize(("direction", "best"), [("maximize", 0.6), ("minimize", 0.1)])
def test_pruned_trial_counts_with_its_best_intermediate_value(direction, best):
    pruned = past([*GOOD, (PRUNED, 0.2, [0.1, math.nan, 0.6, 0.2])], direction)
    complete = past([*GOOD, (COMPLETE, best, [])], direction)
    assert next_params(pruned) == next_params(complete)


def test_pruned_trial_without_intermediate_values_counts_with_its_value():
    pruned, complete = (past([*GOOD, (state, 0.4, [])]) for state in (PRUNED, COMPLETE))
    assert next_params(pruned) == next_params(complete)


def test_trials_without_a_parameter_or_outside_its_range_are_left_out():
    study = past(GOOD)
    for params in ({"lr": 0.1}, {**study.trials[0].params, "layer": 99}):
        wide = {**SPACE, "layer": IntDistribution(0, 99)}
        distributions = {name: wide[name] for name in params}
        other = past(GOOD)
        other.add_trial(create_trial(value=1.0, params=params, distributions=distributions))
        assert next_params(other) == without_the_last()


def test_no_usable_trial_after_the_initial_design_gives_a_random_point():
    params = next_params(past([(FAIL, None, [])] * 6))
    assert params == next_params(past([(FAIL, None, [])] * 6))
    assert set(params) == set(SPACE)


def test_before_there_is_a_score_no_point_that_failed_is_drawn_again():
    space = {"model": SPACE["model"]}
    study = optuna.create_study(sampler=GPyOptSampler(seed=0, space=space, n_initial=1))
    for _ in range(3):
        study.tell(study.ask(fixed_distributions=space), state=FAIL)
    assert len({trial.params["model"] for trial in study.trials}) == 3
    study.tell(study.ask(fixed_distributions=space), state=FAIL)  # now any will do


@pytest.mark.parametrize("kernel", ["mixed", "gpyopt"])
def test_equal_scores_and_a_single_observation_still_give_proposals(kernel):
    sampler = GPyOptSampler(seed=0, space=SPACE, n_initial=1, kernel=kernel)
    study = studied(sampler, 4, objective=lambda p: 0.5)
    assert [set(trial.params) for trial in study.trials] == [set(SPACE)] * 4


@pytest.mark.parametrize(
    "options", [{}, {"kernel": "gpyopt", "axes": "raw", "de_duplication": True}]
)
def test_fully_explored_space_gives_random_points_and_says_so_once(caplog, options):
    space = {"model": CategoricalDistribution(("a", "b", "c")), "layer": IntDistribution(0, 1)}
    sampler = GPyOptSampler(seed=0, space=space, n_initial=2, **{"design": "random", **options})
    with caplog.at_level(logging.WARNING, logger="tl_hpo"):
        study = studied(sampler, 8, objective=lambda p: 0.1 * p["layer"], space=space)
    points = [tuple(t.params.values()) for t in study.trials]
    assert len(set(points)) == 6
    assert len([r for r in caplog.records if "has been tried" in r.message]) == 1


def test_space_is_learned_from_past_trials_where_it_is_not_given():
    study = studied(GPyOptSampler(seed=0, n_initial=2), 4)
    assert all(set(t.params) == set(SPACE) for t in study.trials)
    first = study.trials[0].params
    assert first["lr"] != first["momentum"]


def test_space_of_single_values_needs_no_model():
    space = {"seed": IntDistribution(3, 3)}
    study = studied(GPyOptSampler(seed=0, space=space), 7, objective=lambda p: 1.0, space=space)
    assert study.trials[-1].params == {"seed": 3}


def test_numpy_state_warnings_and_outputs_are_untouched(capfd):
    logging.getLogger().addHandler(handler := logging.StreamHandler())
    logging.getLogger().setLevel(logging.INFO)
    before = (list(warnings.filters), warnings.formatwarning, np.random.get_state()[1].tolist())
    try:
        studied(GPyOptSampler(seed=0, space=SPACE, n_initial=2), 4)
    finally:
        logging.getLogger().removeHandler(handler)
        logging.getLogger().setLevel(logging.WARNING)
    after = (list(warnings.filters), warnings.formatwarning, np.random.get_state()[1].tolist())
    assert after == before
    assert capfd.readouterr() == ("", "")


def test_session_restores_everything_when_the_block_raises():
    before = (list(warnings.filters), np.random.get_state()[1].tolist())
    with pytest.raises(ZeroDivisionError), session(0):
        np.random.randint(0, 9) // 0
    assert (list(warnings.filters), np.random.get_state()[1].tolist()) == before


@st.composite
def distributions(draw):
    kind = draw(st.sampled_from(["category", "float", "int"]))
    if kind == "category":
        return CategoricalDistribution(tuple("abcd"[: draw(st.integers(1, 4))]))
    log, width = draw(st.booleans()), draw(st.integers(0, 60))
    if kind == "int":
        low = draw(st.integers(1 if log else -50, 50))
        step = 1 if log else draw(st.integers(1, 7))
        return IntDistribution(low, low + width * step, log=log, step=step)
    step = None if log else draw(st.sampled_from([None, 0.25]))
    low = 0.5 if step else draw(st.floats(1e-6, 10.0))
    return FloatDistribution(low, low + width * (step or 0.7), log=log, step=step)


@settings(max_examples=8, deadline=None)
@given(
    space=st.lists(distributions(), min_size=1, max_size=3),
    options=st.sampled_from(
        [{}, {"kernel": "gpyopt"}, {"kernel": "gpyopt", "axes": "raw", "design": "random"}]
    ),
    seed=st.integers(0, 2**32),
)
def test_proposals_lie_in_their_distributions(space, options, seed):
    space = {f"p{i}": each for i, each in enumerate(space)}
    sampler = GPyOptSampler(seed=seed, space=space, n_initial=2, **options)
    study = optuna.create_study(sampler=sampler)
    for i in range(4):
        trial = study.ask(fixed_distributions=space)
        expected = sampler.infer_relative_search_space(study)
        assert set(trial.relative_params) == set(expected)
        for name, value in trial.relative_params.items():
            assert trial.params[name] == value  # else Optuna refused it and drew another
        study.tell(trial, float(i % 3))


def test_model_that_cannot_be_fitted_gives_random_points_and_no_surrogate(caplog):
    class Singular:
        def build(self, gpyopt, domain, X, Y):
            raise np.linalg.LinAlgError("not positive definite")

    sampler = GPyOptSampler(seed=0, space=SPACE, n_initial=1, proposer=Singular())
    with caplog.at_level(logging.WARNING, logger="tl_hpo"):
        study = studied(sampler, 4)
        assert sampler.slices(study) == []
    assert len({t.params["lr"] for t in study.trials}) == 4
    assert len(caplog.records) == 2
