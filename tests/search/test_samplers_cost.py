"""Proposals weighed by what a trial is expected to take."""

import math

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import create_trial

from tl_hpo.errors import UserError
from tl_hpo.search.samplers import make_sampler
from tl_hpo.search.study import RESULT

SPACE = {
    "model": CategoricalDistribution(("large", "small")),
    "layer": FloatDistribution(0.0, 1.0),
}
SECONDS = {"large": 100.0, "small": 1.0}


def past(seconds=None):
    """Both models look equally good everywhere, with a little to find out in between."""
    study = optuna.create_study(direction="maximize")
    for i in range(8):
        for model in SECONDS:
            result = {} if seconds is None else {RESULT: {"seconds": seconds[model]}}
            study.add_trial(
                create_trial(
                    value=0.7 + 0.05 * math.sin(i),
                    params={"model": model, "layer": i / 7},
                    distributions=SPACE,
                    user_attrs=result,
                )
            )
    return study


def proposals(study, seeds=range(12), **options):
    found = []
    for seed in seeds:
        study.sampler = make_sampler({"name": "gpyopt", **options}, SPACE, seed)
        found.append(study.ask(fixed_distributions=SPACE).params)
        study.tell(len(study.trials) - 1, state=optuna.trial.TrialState.PRUNED)  # teaches nothing
    return found


def test_of_equally_promising_models_the_cheap_one_is_chosen():
    assert {each["model"] for each in proposals(past(SECONDS), cost_exponent=1.0)} == {"small"}
    turned = {"large": 1.0, "small": 100.0}
    assert {each["model"] for each in proposals(past(turned), cost_exponent=1.0)} == {"large"}


@pytest.mark.parametrize("seconds", [None, {"large": 5.0, "small": 5.0}])
def test_nothing_known_or_nothing_to_choose_changes_nothing(seconds):
    study = past(seconds)
    assert proposals(study, range(3), cost_exponent=0.5) == proposals(past(), range(3))


def test_the_expected_improvement_itself_stays_as_it_is():
    plain, weighed = (
        make_sampler({"name": "gpyopt", "cost_exponent": c}, SPACE, 0) for c in (0.0, 1.0)
    )
    study = past(SECONDS)
    assert weighed.expected_improvement(study) == plain.expected_improvement(study)


@pytest.mark.parametrize(
    "options",
    [
        {"cost_exponent": -0.1},
        {"cost_exponent": 2},
        {"cost_exponent": "much"},
        {"cost_exponent": math.nan},
        {"cost_exponent": 0.5, "kernel": "gpyopt"},
    ],
)
def test_nonsense_is_refused(options):
    with pytest.raises(UserError, match="cost_exponent"):
        make_sampler({"name": "gpyopt", **options}, SPACE, 0)
