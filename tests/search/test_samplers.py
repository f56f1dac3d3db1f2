"""Samplers by name, and what all of them promise."""

import itertools
import math
import pickle
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from malicious import Touches
from omegaconf import OmegaConf
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import CmaEsSampler, GPSampler, QMCSampler, RandomSampler, TPESampler
from optuna.trial import TrialState, create_trial

from tl_hpo.errors import UserError
from tl_hpo.search.samplers import ask_seed, make_sampler
from tl_hpo.search.samplers.gpyopt import GPyOptSampler
from tl_hpo.search.samplers.proposer import BayesianOptimizationProposer
from tl_hpo.search.samplers.qmc import quantile

optuna.logging.set_verbosity(optuna.logging.WARNING)


pytestmark = pytest.mark.usefixtures("one_thread")


ROOT = Path(__file__).resolve().parents[2]
SPACE = {
    "optimizer": CategoricalDistribution(("sgd", "adam")),
    "lr": FloatDistribution(1e-4, 1.0, log=True),
}
NAMES = ["cmaes", "gp", "gpyopt", "gpyopt_plain", "grid", "qmc", "random", "tpe"]


def config(name):
    """The composed config of conf/sampler, its defaults list followed by hand."""
    here = OmegaConf.load(ROOT / "conf" / "sampler" / f"{name}.yaml")
    bases = [each for each in here.pop("defaults", []) if each != "_self_"]
    return OmegaConf.merge(*map(config, bases), here)


def accuracy(params):
    better = 0.05 if params["optimizer"] == "adam" else 0.0
    return 0.9 - 0.1 * (math.log10(params["lr"]) + 2) ** 2 + better


def studied(sampler_of, n, **kwargs):
    """Run n trials; ``sampler_of`` is called before each."""
    study = optuna.create_study(direction="maximize", **kwargs)
    for _ in range(n):
        study.sampler = sampler_of()
        trial = study.ask(fixed_distributions=SPACE)
        study.tell(trial, accuracy(trial.params))
    return study


@pytest.mark.parametrize("name", NAMES)
def test_every_sampler_finds_a_good_point_of_an_easy_objective(name):
    sampler = make_sampler(config(name), SPACE, seed=0)
    assert studied(lambda: sampler, 8).best_value > 0.75


@pytest.mark.parametrize("name", NAMES)
def test_a_fresh_sampler_for_every_trial_changes_nothing(name):
    sampler = make_sampler(config(name), SPACE, seed=5)
    through = studied(lambda: sampler, 7)
    restarted = studied(lambda: make_sampler(config(name), SPACE, seed=5), 7)
    assert [t.params for t in through.trials] == [t.params for t in restarted.trials]
    points = [tuple(t.params.values()) for t in through.trials]
    assert len(set(points)) == len(points)


def test_the_paper_preset_has_raw_axes_and_five_random_trials():
    sampler = make_sampler(config("gpyopt_paper"), SPACE, seed=0)
    assert isinstance(sampler, GPyOptSampler)
    assert (sampler.axes, sampler.design, sampler.n_initial) == ("raw", "random", 5)
    assert sampler.proposer == BayesianOptimizationProposer()


def test_the_plain_preset_is_gpyopt_with_its_defaults_on_unit_axes():
    sampler = make_sampler(config("gpyopt_plain"), SPACE, seed=0)
    assert (sampler.axes, sampler.design, sampler.n_initial) == ("unit", "random", 5)
    assert sampler.proposer == BayesianOptimizationProposer()


def test_the_config_states_the_defaults_of_the_class():
    options = {k: v for k, v in config("gpyopt").items() if k != "name"}
    sampler, default = GPyOptSampler(seed=0, **options), GPyOptSampler(seed=0)
    assert sampler.proposer == default.proposer
    for name in ("axes", "design", "n_initial"):
        assert getattr(sampler, name) == getattr(default, name)
    own = {"n_initial", "kernel", "design", "axes", "cost_exponent"}
    choices = {key: value for key, value in options.items() if key not in own}
    assert own <= set(options)
    assert choices == vars(BayesianOptimizationProposer())


def test_unknown_name_and_option_suggest_the_nearest():
    with pytest.raises(UserError, match="gpyopt"):
        make_sampler({"name": "gpyop"}, SPACE, seed=0)
    with pytest.raises(UserError, match="n_initial"):
        make_sampler({"name": "tpe", "n_inital": 5}, SPACE, seed=0)


WIDE = {
    **SPACE,
    "momentum": FloatDistribution(0.0, 0.9),
    "layer": IntDistribution(0, 40),
    "batch": IntDistribution(8, 128, log=True),
    "dropout": FloatDistribution(0.0, 0.5, step=0.25),
}
BY_HAND = {
    "cmaes": lambda seed: CmaEsSampler(seed=seed, consider_pruned_trials=True),
    "gp": lambda seed: GPSampler(seed=seed, n_startup_trials=5),
    "random": lambda seed: RandomSampler(seed=seed),
    "tpe": lambda seed: TPESampler(seed=seed, n_startup_trials=5),
}


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.parametrize("name", BY_HAND)
def test_proposals_are_those_of_optuna_by_hand_with_the_same_seed_and_past(name):
    sampler = make_sampler(config(name), WIDE, seed=3)
    ours, hand = (optuna.create_study(direction="maximize") for _ in range(2))
    ours.sampler = sampler
    for number in range(9):  # more than a generation of CMA-ES
        hand.sampler = BY_HAND[name](ask_seed(3, number))
        for study in (ours, hand):
            trial = study.ask(fixed_distributions=WIDE)
            for epoch in (1, 2):
                trial.report(accuracy(trial.params) - 0.1 / epoch, epoch)
            if number % 3 == 1:
                study.tell(trial, state=TrialState.PRUNED)
            else:
                study.tell(trial, accuracy(trial.params))
        assert ours.trials[-1].params == hand.trials[-1].params


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_quasi_random_points_are_those_of_optunas_sequence():
    study = optuna.create_study(sampler=make_sampler({"name": "qmc"}, WIDE, seed=11))
    optunas = QMCSampler(qmc_type="sobol", scramble=True, seed=11)
    for _ in range(20):
        trial = study.ask(fixed_distributions=WIDE)
        expected = optunas.sample_relative(study, study.trials[-1], WIDE)
        assert trial.params["optimizer"] == expected.pop("optimizer")
        numbers = {n: v for n, v in trial.params.items() if n != "optimizer"}
        assert numbers == pytest.approx(expected, rel=1e-12)


def test_a_category_has_its_share_of_quasi_random_points():
    space = {"a": CategoricalDistribution(tuple("wxyz")), "b": IntDistribution(1, 8)}
    study = optuna.create_study(sampler=make_sampler({"name": "qmc"}, space, seed=0))
    points = [study.ask(fixed_distributions=space).params for _ in range(32)]
    # A Sobol sequence of 2^k points in two dimensions has one in every elementary box.
    assert {tuple(point.values()) for point in points} == set(
        itertools.product("wxyz", range(1, 9))
    )


@given(
    low=st.integers(1, 50),
    width=st.integers(0, 60),
    u=st.floats(0, 1),
    log=st.booleans(),
)
def test_quantiles_lie_in_the_distribution_and_rise(low, width, u, log):
    for distribution in (
        IntDistribution(low, low + width, log=log),
        FloatDistribution(low, low + width, log=log),
        FloatDistribution(low, low + width, step=0.5),
        CategoricalDistribution(range(low, low + width + 1)),
    ):
        value = quantile(distribution, u)
        assert distribution._contains(distribution.to_internal_repr(value))
        assert value <= quantile(distribution, (u + 1) / 2)


def points_of(space, n, conditions=None, points=3, seed=0):
    """The first n points that grid search proposes, and how many trials its grid has."""
    sampler = make_sampler(
        {"name": "grid", "points": points}, space, seed=seed, conditions=conditions
    )
    study = optuna.create_study(direction="maximize", sampler=sampler)
    size = None
    for number in range(n):
        if size is None and study.sampler.exhausted(study):
            size = number
        study.tell(study.ask(fixed_distributions=space), 1.0)
    return [trial.params for trial in study.trials], size


GRID = {
    "optimizer": ["sgd", "adam"],
    "lr": [1e-4, 1e-2, 1.0],
    "momentum": [0.0, 0.45, 0.9],
    "layer": [0, 20, 40],
    "batch": [8, 32, 128],
    "dropout": [0.0, 0.25, 0.5],
}


def test_a_grid_has_every_combination_once_then_is_exhausted():
    names = ["optimizer", "lr", "layer"]
    points, size = points_of({name: WIDE[name] for name in names}, 19)
    assert size == 18
    expected = [dict(zip(names, p, strict=True)) for p in itertools.product(*map(GRID.get, names))]
    assert sorted(map(str, points[:18])) == sorted(map(str, expected))
    assert points[:18] != expected  # shuffled
    assert points[18] in expected


def test_a_grid_has_the_same_points_as_optunas():
    names = ["optimizer", "batch", "dropout"]
    space = {name: WIDE[name] for name in names}
    optunas = optuna.samplers.GridSampler({name: GRID[name] for name in names}, seed=0)
    study = optuna.create_study(sampler=optunas)
    study.optimize(lambda trial: len([trial._suggest(name, each) for name, each in space.items()]))
    points, size = points_of(space, 19)
    points = points[:18]
    assert size == len(study.trials) == 18
    assert sorted(map(str, points)) == sorted(
        str({n: t.params[n] for n in names}) for t in study.trials
    )


@pytest.mark.parametrize(
    ("distribution", "points", "expected"),
    [
        (FloatDistribution(1e-4, 1.0, log=True), 5, [1e-4, 1e-3, 1e-2, 1e-1, 1.0]),
        (FloatDistribution(3e-4, 0.7, log=True), 2, [3e-4, 0.7]),
        (IntDistribution(0, 3), 9, [0, 1, 2, 3]),
        (IntDistribution(1, 5), 2, [1, 5]),
        (IntDistribution(0, 10, step=5), 4, [0, 5, 10]),
        (IntDistribution(1, 100, log=True), 3, [1, 10, 100]),
        (IntDistribution(7, 7), 3, [7]),
        (CategoricalDistribution(("b", "a")), 2, ["a", "b"]),
    ],
)
def test_values_of_an_axis_on_a_grid(distribution, points, expected):
    found, _ = points_of({"x": distribution}, len(expected) + 1, points=points)
    found = sorted(point["x"] for point in found[: len(expected)])
    assert found == (pytest.approx(expected) if isinstance(expected[0], float) else expected)
    assert (found[0], found[-1]) == (expected[0], expected[-1])


CONDITIONAL = {
    "optimizer": CategoricalDistribution(("sgd", "rmsprop", "adam")),
    "lr": FloatDistribution(1e-4, 1.0, log=True),
    "momentum": FloatDistribution(0.0, 0.9),
    "nesterov": CategoricalDistribution((True, False)),
}
NEEDS = {"momentum": {"optimizer": ("sgd", "rmsprop")}, "nesterov": {"optimizer": ("sgd",)}}


def test_points_of_a_grid_that_differ_in_axes_that_do_not_apply_count_once():
    points, size = points_of(CONDITIONAL, 31, NEEDS)
    assert size == 30  # of three rates: sgd 3 momenta, nesterov or not; rmsprop 3; adam 1
    seen = {
        tuple(
            value
            for name, value in point.items()
            if point["optimizer"] in NEEDS.get(name, {}).get("optimizer", point["optimizer"])
        )
        for point in points[:30]
    }
    assert len(seen) == 30


def test_trials_that_others_proposed_take_their_points_of_the_grid():
    sampler = make_sampler({"name": "grid", "points": 3}, CONDITIONAL, seed=0, conditions=NEEDS)
    study = optuna.create_study(sampler=sampler)
    taken = {"optimizer": "adam", "lr": 0.01, "momentum": 0.3, "nesterov": False}
    apart = taken | {"lr": 0.02}
    for params in (taken, apart):
        study.add_trial(create_trial(value=1.0, params=params, distributions=CONDITIONAL))
    for _ in range(29):
        assert not study.sampler.exhausted(study)
        study.tell(study.ask(fixed_distributions=CONDITIONAL), 1.0)
    assert study.sampler.exhausted(study)
    asked = [(t.params["optimizer"], t.params["lr"]) for t in study.trials[2:]]
    assert ("adam", 0.01) not in asked


def test_a_trial_of_the_grid_that_waits_to_run_again_is_not_over():
    space = {"layer": IntDistribution(0, 1)}
    study = optuna.create_study(sampler=make_sampler({"name": "grid"}, space, seed=0))
    study.tell(study.ask(fixed_distributions=space), 1.0)
    last = study.ask(fixed_distributions=space)
    assert study.sampler.exhausted(study)
    study._storage.set_trial_state_values(last._trial_id, TrialState.WAITING)
    assert not study.sampler.exhausted(study)
    assert study.ask(fixed_distributions=space).params == last.params


def test_no_sampler_but_the_grid_is_ever_exhausted():
    space = {"layer": IntDistribution(0, 1)}
    for name in set(NAMES) - {"grid"}:
        study = optuna.create_study(sampler=make_sampler(config(name), space, seed=0))
        for _ in range(3):
            study.tell(study.ask(fixed_distributions=space), 1.0)
        assert not hasattr(study.sampler, "exhausted")


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31), points=st.integers(2, 4))
def test_a_grid_is_gone_through_once_whatever_the_seed(seed, points):
    proposed, size = points_of(SPACE, 2 * points + 1, points=points, seed=seed)
    assert size == 2 * points
    assert len({tuple(point.values()) for point in proposed[:size]}) == size


def test_the_seed_orders_the_grid():
    assert points_of(SPACE, 5, seed=0) == points_of(SPACE, 5, seed=0)
    assert points_of(SPACE, 5, seed=0) != points_of(SPACE, 5, seed=1)


@pytest.mark.parametrize("points", [1, 2.5, "many", True])
def test_points_of_a_grid_are_checked(points):
    with pytest.raises(UserError, match=r"sampler\.points"):
        make_sampler({"name": "grid", "points": points}, SPACE, seed=0)


def test_a_grid_that_nobody_can_go_through_is_refused():
    with pytest.raises(UserError, match="1000000"):
        make_sampler({"name": "grid", "points": 101}, WIDE, seed=0)


@pytest.mark.parametrize("popsize", [3, 4.5, "many"])
def test_population_of_cmaes_is_checked(popsize):
    with pytest.raises(UserError, match=r"sampler\.popsize"):
        make_sampler({"name": "cmaes", "popsize": popsize}, SPACE, seed=0)


def test_cmaes_closes_in_on_the_optimum_of_its_numbers():
    sampler = make_sampler(config("cmaes"), SPACE, seed=0)
    rates = [math.log10(t.params["lr"]) for t in studied(lambda: sampler, 60).trials]
    away = [abs(rate + 2) for rate in rates]
    assert sum(away[-10:]) < 0.5 * sum(away[:10])


def test_cmaes_runs_no_code_of_a_study_that_it_goes_on_with(tmp_path):
    sampler = make_sampler(config("cmaes"), SPACE, seed=0)
    study = studied(lambda: sampler, 8)  # a generation and more: its state is in the study
    assert any("cma:optimizer:0" in trial.system_attrs for trial in study.trials)
    code = {"cma:optimizer:0": pickle.dumps(Touches(tmp_path / "executed")).hex()}
    last = study.trials[-1]
    point = {"params": last.params, "distributions": last.distributions, "value": last.value}
    study.add_trial(create_trial(**point, system_attrs=code))
    with pytest.raises(UserError, match=r"must hold its state alone, got .*; take no run folder"):
        study.ask(fixed_distributions=SPACE)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("name", ["cmaes", "gpyopt", "tpe", "gp"])
def test_number_of_initial_trials_is_checked(name):
    with pytest.raises(UserError, match="n_initial"):
        make_sampler({"name": name, "n_initial": 0}, SPACE, seed=0)


def test_ask_seed_is_stable_and_spread():
    assert ask_seed(0, 0) == int("ac72368a", 16)  # sha256sum of "0:0"
    seeds = {ask_seed(seed, number) for seed in range(30) for number in range(30)}
    assert len(seeds) == 900
    assert all(0 <= seed < 2**32 for seed in seeds)


def test_import_is_light():
    code = (
        "import sys, tl_hpo.search.samplers as s, tl_hpo.search.pruners;"
        "s.make_sampler({'name': 'tpe'}, {}, 0); import tl_hpo.search.samplers.gpyopt;"
        "print({'torch', 'GPyOpt', 'GPy', 'matplotlib'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"
