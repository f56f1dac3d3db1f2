"""The sampler against GPyOpt driven by hand; restarts, its arguments, its replaceable parts."""

import math

import numpy as np
import optuna
import pytest
from optuna.distributions import (
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from tl_hpo.errors import UserError
from tl_hpo.search.samplers.gpyopt import GPyOptSampler

optuna.logging.set_verbosity(optuna.logging.WARNING)


pytestmark = pytest.mark.usefixtures("one_thread")


MODELS = ("vgg16", "resnet50", "xception")
SPACE = {
    "model": CategoricalDistribution(MODELS),
    "lr": FloatDistribution(1e-4, 1.0, log=True),
    "batch": IntDistribution(8, 128, log=True),
    "layer": IntDistribution(0, 40),
    "momentum": FloatDistribution(0.0, 0.9),
    "seed": IntDistribution(3, 3),
}
UNIT = [("categorical", (0, 1, 2)), *[("continuous", (0.0, 1.0))] * 4]
RAW = [
    ("categorical", (0, 1, 2)),
    ("continuous", (1e-4, 1.0)),
    ("discrete", tuple(range(8, 129))),
    ("discrete", tuple(range(41))),
    ("continuous", (0.0, 0.9)),
]
NAMES = ["model", "lr", "batch", "layer", "momentum"]
PLAIN = {"kernel": "gpyopt", "design": "random", "n_initial": 5}


def domain_of(types):
    return [{"name": n, "type": t, "domain": d} for n, (t, d) in zip(NAMES, types, strict=True)]


def unit_row(p):
    lr = (math.log10(p["lr"]) - math.log10(1e-4)) / (math.log10(1.0) - math.log10(1e-4))
    batch = (math.log10(p["batch"]) - math.log10(8)) / (math.log10(128) - math.log10(8))
    return [MODELS.index(p["model"]), lr, batch, p["layer"] / 40, p["momentum"] / 0.9]


def raw_row(p):
    return [MODELS.index(p["model"]), p["lr"], p["batch"], p["layer"], p["momentum"]]


def unit_values(row):
    lr = 10 ** (math.log10(1e-4) + row[1] * (math.log10(1.0) - math.log10(1e-4)))
    batch = 10 ** (math.log10(8) + row[2] * (math.log10(128) - math.log10(8)))
    batch, layer = round(batch), round(row[3] * 40)
    lr = min(max(lr, 1e-4), 1.0)
    return dict(
        zip(NAMES, [MODELS[int(row[0])], lr, batch, layer, min(row[4] * 0.9, 0.9)], strict=True)
    )


def raw_values(row):
    return dict(
        zip(NAMES, [MODELS[int(row[0])], row[1], int(row[2]), int(row[3]), row[4]], strict=True)
    )


def accuracy(p):
    peak = math.exp(-((math.log10(p["lr"]) + 2) ** 2))
    return 0.2 + 0.5 * peak + 0.1 * MODELS.index(p["model"]) + 0.002 * p["layer"]


def studied(sampler, n, objective=accuracy, direction="maximize", space=SPACE, **kwargs):
    study = optuna.create_study(direction=direction, sampler=sampler, **kwargs)
    for _ in range(n):
        trial = study.ask(fixed_distributions=space)
        study.tell(trial, objective(trial.params))
    return study


def by_hand(study, types, row_of, sign, number, **choices):
    import GPyOpt

    X = np.array([row_of(t.params) for t in study.trials[:number]], dtype=float)
    Y = np.array([[sign * t.value] for t in study.trials[:number]])
    np.random.seed(7 + number)
    by_hand = GPyOpt.methods.BayesianOptimization(
        f=None, domain=domain_of(types), X=X, Y=Y, **choices
    )
    return by_hand.suggest_next_locations()[0]


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
@pytest.mark.parametrize(
    ("axes", "types", "row_of", "values_of"),
    [("unit", UNIT, unit_row, unit_values), ("raw", RAW, raw_row, raw_values)],
)
def test_proposals_are_those_of_gpyopt_driven_by_hand(axes, types, row_of, values_of, direction):
    study = studied(GPyOptSampler(seed=7, space=SPACE, axes=axes, **PLAIN), 7, direction=direction)
    for number in (5, 6):
        sign = -1 if direction == "maximize" else 1
        row = by_hand(study, types, row_of, sign, number)
        expected = {**values_of(row), "seed": 3}
        assert study.trials[number].params == expected


def test_choices_of_gpyopt_are_handed_on():
    choices = {"acquisition_type": "LCB", "acquisition_weight": 3.0, "normalize_Y": False}
    study = studied(GPyOptSampler(seed=7, space=SPACE, **PLAIN, **choices), 6)
    row = by_hand(study, UNIT, unit_row, -1, 5, **choices)
    assert study.trials[5].params == {**unit_values(row), "seed": 3}


def test_initial_design_is_one_random_design_of_gpyopt():
    import GPyOpt

    study = studied(GPyOptSampler(seed=7, space=SPACE, axes="raw", **{**PLAIN, "n_initial": 4}), 4)
    np.random.seed(7)
    design = GPyOpt.Design_space(domain_of(RAW))
    rows = GPyOpt.experiment_design.initial_design("random", design, 4)
    assert [t.params for t in study.trials] == [{**raw_values(r), "seed": 3} for r in rows]


@pytest.mark.parametrize("kernel", ["mixed", "gpyopt"])
def test_reopened_study_goes_on_as_if_never_closed(tmp_path, kernel):
    def sampler():
        return GPyOptSampler(seed=1, space=SPACE, n_initial=4, kernel=kernel)

    url = f"sqlite:///{tmp_path}/study.db"
    studied(sampler(), 4, storage=url, study_name="a")
    for _ in range(2):
        study = optuna.load_study(storage=url, study_name="a", sampler=sampler())
        trial = study.ask(fixed_distributions=SPACE)
        study.tell(trial, accuracy(trial.params))
    through = studied(sampler(), 6)
    assert [t.params for t in study.trials] == [t.params for t in through.trials]


def test_another_seed_proposes_other_points():
    first, second = (studied(GPyOptSampler(seed=s, space=SPACE), 1) for s in (0, 1))
    assert first.trials[0].params != second.trials[0].params


@pytest.mark.parametrize(
    "wrong",
    [
        {"seed": -1},
        {"n_initial": 0},
        {"n_initial": 2.5},
        {"n_initial": "some"},
        {"axes": "log"},
        {"axes": "raw"},
        {"kernel": "rbf"},
        {"design": "grid"},
        {"acquisition_type": "LCB"},
        {"ARD": True},
        {"model_type": "GPP"},
        {"acquisition_type": "EI_MCMC"},
        {"acquisition_jitter": -0.1},
        {"acquisition_jitter": math.nan},
        {"optimize_restarts": 0},
        {"normalize_Y": "yes"},
        {"acquisition_optimizer_type": "bfgs"},
    ],
)
def test_wrong_arguments_are_told_in_one_line(wrong):
    with pytest.raises(UserError, match=next(iter(wrong))) as error:
        GPyOptSampler(**{"seed": 0, "space": SPACE, **wrong})
    assert "\n" not in str(error.value)


def test_proposer_can_be_replaced():
    class Halfway:
        def build(self, gpyopt, domain, X, Y):
            self.seen = X.shape, Y.shape
            return self

        def suggest_next_locations(self):
            return np.array([[1, 0.5, 0.5, 0.5, 0.5]])

    proposer = Halfway()
    study = studied(GPyOptSampler(seed=0, space=SPACE, n_initial=2, proposer=proposer), 3)
    assert study.trials[-1].params["lr"] == pytest.approx(0.01)
    assert study.trials[-1].params["model"] == "resnet50"
    assert proposer.seen == ((2, 5), (2, 1))
