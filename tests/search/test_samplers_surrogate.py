"""The model behind the proposals, against GPyOpt driven by hand and against plain statistics."""

import math

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from tl_hpo.search.samplers.gpyopt import GPyOptSampler
from tl_hpo.search.samplers.proposer import _mixture

optuna.logging.set_verbosity(optuna.logging.WARNING)


pytestmark = pytest.mark.usefixtures("one_thread")


SPACE = {
    "model": CategoricalDistribution(("a", "b", "c", "d", "e")),
    "lr": FloatDistribution(1e-4, 1.0, log=True),
    "layer": IntDistribution(0, 40),
}


def accuracy(params):
    letter = "abcde".index(params.get("model", "a"))
    return 0.9 - 0.1 * (np.log10(params["lr"]) + 2) ** 2 - 0.01 * letter


def study_of(space, n=12, direction="maximize", sign=1.0):
    study = optuna.create_study(direction=direction, sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(n):
        trial = study.ask(fixed_distributions=space)
        study.tell(trial, sign * accuracy(trial.params))
    return study


def test_no_trials_no_surrogate():
    sampler = GPyOptSampler(seed=0, space=SPACE)
    assert sampler.surrogate(optuna.create_study()) is None
    assert sampler.slices(optuna.create_study()) == []


def test_prediction_is_that_of_gpyopt_driven_by_hand():
    import GPyOpt

    space = {"lr": SPACE["lr"]}
    study = study_of(space)
    mean, std, acquisition = (
        GPyOptSampler(seed=3, space=space, kernel="gpyopt")
        .surrogate(study)
        .predict([{"lr": 1e-3}, {"lr": 0.5}])
    )
    X = np.array([[(math.log10(t.params["lr"]) + 4) / 4] for t in study.trials])
    Y = np.array([[-t.value] for t in study.trials])
    np.random.seed(3)
    bo = GPyOpt.methods.BayesianOptimization(
        f=None, domain=[{"name": "lr", "type": "continuous", "domain": (0.0, 1.0)}], X=X, Y=Y
    )
    bo._update_model()
    points = np.array([[0.25], [(math.log10(0.5) + 4) / 4]])
    m, s = bo.model.predict(points)
    assert mean == pytest.approx(-(m[:, 0] * Y.std() + Y.mean()), rel=1e-6)
    assert std == pytest.approx(s[:, 0] * Y.std(), rel=1e-6)
    improvement = -bo.acquisition.acquisition_function(points)[:, 0] * Y.std()
    assert acquisition == pytest.approx(improvement, rel=1e-5, abs=1e-12)


@pytest.mark.parametrize("kernel", ["mixed", "gpyopt"])
@pytest.mark.parametrize(("direction", "sign"), [("maximize", 1.0), ("minimize", -1.0)])
def test_mean_follows_the_values_of_the_study(direction, sign, kernel):
    study = study_of(SPACE, direction=direction, sign=sign)
    surrogate = GPyOptSampler(seed=0, space=SPACE, kernel=kernel).surrogate(study)
    mean, std, acquisition = surrogate.predict([t.params for t in study.trials])
    assert mean == pytest.approx([t.value for t in study.trials], abs=0.1)
    assert (std > 0).all()
    assert (acquisition >= 0).all()


@pytest.mark.parametrize("kernel", ["mixed", "gpyopt"])
def test_equal_scores_have_a_finite_surrogate(kernel):
    space = {"lr": SPACE["lr"]}
    study = study_of(space, n=0)
    for _ in range(3):
        study.tell(study.ask(fixed_distributions=space), 0.5)
    sampler = GPyOptSampler(seed=0, space=space, kernel=kernel)
    mean, std, _ = sampler.surrogate(study).predict([{"lr": 0.1}])
    assert mean == pytest.approx([0.5], abs=1e-3)
    assert np.isfinite(std).all()


def test_one_slice_per_number_through_the_best_then_per_further_combination():
    study = study_of(SPACE, n=20)
    slices = GPyOptSampler(seed=0, space=SPACE).slices(study, n=30)
    best = study.best_params
    assert [each.label for each in slices] == ["lr", "layer", "lr", "lr", "lr"]
    assert slices[0].title == f"model={best['model']}, layer={best['layer']}"
    assert len({each.title.split(",")[0] for each in (slices[0], *slices[2:])}) == 4
    assert [each.log for each in slices[:2]] == [True, False]
    for each in slices:
        sizes = map(len, (each.x, each.mean, each.std, each.acquisition))
        assert set(sizes) == {30}
        assert each.x == sorted(each.x)
    alike = [t for t in study.trials if t.params["model"] == best["model"]]
    assert slices[0].observed_y == [t.value for t in alike]
    assert slices[1].observed_x == [t.params["layer"] for t in alike]
    assert (slices[0].x[0], slices[0].x[-1]) == (1e-4, 1.0)


def test_slices_need_a_numeric_axis():
    space = {"model": CategoricalDistribution(("a", "b"))}
    study = study_of(space, n=0)
    study.tell(study.ask(fixed_distributions=space), 0.5)
    assert GPyOptSampler(seed=0, space=space).slices(study) == []


def test_single_axis_is_titled_by_its_name():
    space = {"lr": SPACE["lr"]}
    (only,) = GPyOptSampler(seed=0, space=space).slices(study_of(space, n=3), n=5)
    assert only.title == only.label == "lr"


def test_samples_of_an_mcmc_model_are_taken_together():
    means, stds = [np.array([[0.0]]), np.array([[2.0]])], [np.array([[1.0]]), np.array([[3.0]])]
    mean, std = _mixture(means, stds)
    draws = np.random.default_rng(0).normal([0.0, 2.0], [1.0, 3.0], size=(200_000, 2))
    assert mean[0] == pytest.approx(draws.mean(), abs=0.02)
    assert std[0] == pytest.approx(draws.std(), abs=0.02)
