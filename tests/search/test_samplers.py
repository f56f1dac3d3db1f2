"""Samplers by name, and what all of them promise."""

import math
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
from omegaconf import OmegaConf
from optuna.distributions import CategoricalDistribution, FloatDistribution
from threadpoolctl import threadpool_limits

from tl_hpo.errors import UserError
from tl_hpo.search.samplers import ask_seed, make_sampler
from tl_hpo.search.samplers._session import session
from tl_hpo.search.samplers.gpyopt import GPyOptSampler
from tl_hpo.search.samplers.proposer import BayesianOptimizationProposer

optuna.logging.set_verbosity(optuna.logging.WARNING)


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Linear algebra this small is several times slower with a thread per core."""
    with session(0):  # loads the libraries, so that they can be limited
        pass
    with threadpool_limits(limits=1, user_api="blas"):
        yield


ROOT = Path(__file__).resolve().parents[2]
SPACE = {
    "optimizer": CategoricalDistribution(("sgd", "adam")),
    "lr": FloatDistribution(1e-4, 1.0, log=True),
}
NAMES = ["gpyopt", "gpyopt_plain", "random", "tpe", "gp"]


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
    own = {"n_initial", "kernel", "design", "axes"}
    choices = {key: value for key, value in options.items() if key not in own}
    assert own <= set(options)
    assert choices == vars(BayesianOptimizationProposer())


def test_unknown_name_and_option_suggest_the_nearest():
    with pytest.raises(UserError, match="gpyopt"):
        make_sampler({"name": "gpyop"}, SPACE, seed=0)
    with pytest.raises(UserError, match="n_initial"):
        make_sampler({"name": "tpe", "n_inital": 5}, SPACE, seed=0)


@pytest.mark.parametrize("name", ["gpyopt", "tpe", "gp"])
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
