"""Early cancel, the paper's rule and its relative form; Optuna's pruners as a search asks them."""

import math
from pathlib import Path

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf
from optuna.pruners import HyperbandPruner, MedianPruner
from optuna.trial import TrialState, create_trial
from simulated import SimulatedRunner

from tl_hpo.errors import UserError
from tl_hpo.search.experiment import Experiment
from tl_hpo.search.pruners import EarlyCancel, Hyperband, make_pruner
from tl_hpo.search.study import DUPLICATE_OF

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
        {"epochs": True},
    ],
)
def test_wrong_arguments_are_told_in_one_line(wrong):
    with pytest.raises(UserError, match=next(iter(wrong))) as error:
        EarlyCancel(**wrong)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "median", "n_startup_trials": -1},
        {"name": "median", "n_warmup_epochs": 0.5},
        {"name": "median", "interval": 0},
        {"name": "hyperband", "min_epochs": 0},
        {"name": "hyperband", "reduction_factor": 1},
        {"name": "hyperband", "max_epochs": "many"},
        {"name": "hyperband", "max_epochs": 0},
    ],
)
def test_wrong_options_are_told_in_one_line(wrong):
    with pytest.raises(UserError, match=list(wrong)[-1]) as error:
        make_pruner(wrong)
    assert "\n" not in str(error.value)


def config(name):
    """The composed config of conf/pruner, its defaults list followed by hand."""
    here = OmegaConf.load(CONF / f"{name}.yaml")
    bases = [each for each in here.pop("defaults", []) if each != "_self_"]
    return OmegaConf.merge(*map(config, bases), here)


def test_configs_make_their_pruners_and_state_the_defaults():
    assert vars(make_pruner(config("early_cancel"))) == vars(EarlyCancel())
    relative = make_pruner(config("early_cancel_relative"))
    assert vars(relative) == vars(EarlyCancel(relative=True))
    assert vars(make_pruner(config("median"))) == vars(MedianPruner())
    assert cancelled_at(make_pruner(config("none")), [0.0] * 9) is None
    default, given = vars(make_pruner(config("hyperband"))), vars(Hyperband())
    assert vars(default["_pruner"]) == vars(given["_pruner"])


def test_every_config_of_a_pruner_can_be_made():
    for path in CONF.glob("*.yaml"):
        assert cancelled_at(make_pruner(config(path.stem), max_epochs=20), [0.9] * 20) is None


def test_the_epochs_planned_are_what_auto_stands_for():
    pruner = make_pruner({"name": "hyperband", "max_epochs": "auto"}, max_epochs=9)
    assert vars(pruner._pruner) == vars(HyperbandPruner(max_resource=9))
    given = make_pruner({"name": "hyperband", "max_epochs": 27}, max_epochs=9)
    assert vars(given._pruner) == vars(HyperbandPruner(max_resource=27))


def test_hyperband_stops_no_trial_that_is_shorter_than_its_first_epoch():
    assert (
        cancelled_at(
            make_pruner({"name": "hyperband", "min_epochs": 4, "max_epochs": 3}), [0.0] * 3
        )
        is None
    )


def by_hand(pruner, name, curves):
    """Epochs and state of trials with these curves, as Optuna has trials report and stop."""
    study = optuna.create_study(study_name=name, direction="maximize", pruner=pruner)
    return [_reported(study, curve) for curve in curves]


def _reported(study, curve):
    trial = study.ask()
    for step, value in enumerate(curve, 1):
        trial.report(value, step)
        if trial.should_prune():
            study.tell(trial, state=TrialState.PRUNED)
            return step, "PRUNED"
    study.tell(trial, curve[-1])
    return len(curve), "COMPLETE"


@pytest.mark.parametrize(
    ("options", "pruner"),
    [
        (["median", "pruner.n_startup_trials=2"], MedianPruner(2)),
        (
            [
                "median",
                "pruner.n_startup_trials=3",
                "pruner.n_warmup_epochs=3",
                "pruner.interval=2",
            ],
            MedianPruner(3, 3, 2),
        ),
        (["hyperband", "pruner.max_epochs=6"], HyperbandPruner(1, 6, 3)),
        (
            ["hyperband", "pruner.max_epochs=6", "pruner.reduction_factor=2"],
            HyperbandPruner(1, 6, 2),
        ),
    ],
)
def test_a_search_stops_the_trials_that_optuna_by_hand_stops(plan, options, pruner):
    p = plan(f"pruner={options[0]}", *options[1:], "search.n_trials=14", "search.layer_trials=1")
    runner = SimulatedRunner()
    experiment = Experiment(p, runner, optuna.storages.InMemoryStorage())
    experiment.run()
    study = experiment.studies["shared"]
    scores = [runner.score(overrides) for overrides in runner.asked[:14]]
    curves = [[score * (1 - 0.5**step) for step in range(1, 7)] for score in scores]
    got = [(t.user_attrs["result"]["epochs"], t.state.name) for t in study.trials]
    assert got == by_hand(pruner, "shared", curves)
    assert {state for _, state in got} == {"PRUNED", "COMPLETE"}


class Killed(BaseException):
    """Ends the process as a signal would: nothing catches it."""


class KilledAt(SimulatedRunner):
    """Ends at the n-th epoch of all trials, before or after the pruner has told what it thinks."""

    def __init__(self, moment=None, *, judged=False):
        super().__init__()
        self._moment, self._judged, self.epochs = moment, judged, 0

    def _train(self, score, report):
        def watched(record):
            self.epochs += 1
            if self.epochs == self._moment and not self._judged:
                raise Killed
            verdict = report(record)
            if self.epochs == self._moment:
                raise Killed
            return verdict

        return super()._train(score, watched)


def _states(p, *runners):
    storage = optuna.storages.InMemoryStorage()
    for runner in runners:
        experiment = Experiment(p, runner, storage)
        try:
            experiment.run()
        except Killed:
            continue
    return [
        (t.state.name, t.user_attrs["result"]["epochs"])
        for study in experiment.studies.values()
        for t in study.trials
    ]


@pytest.mark.parametrize("judged", [False, True])
@pytest.mark.parametrize("factor", [2, 3])
def test_hyperband_stops_after_an_interruption_what_it_stops_without_one(plan, factor, judged):
    p = plan(
        "pruner=hyperband", "pruner.max_epochs=6", f"pruner.reduction_factor={factor}",
        "strategy=joint", "search.n_trials=9",
    )  # fmt: skip
    whole = KilledAt()
    states = _states(p, whole)
    assert {state for state, _ in states} == {"PRUNED", "COMPLETE"}
    for moment in range(1, whole.epochs + 1):
        again = _states(p, KilledAt(moment, judged=judged), SimulatedRunner())
        assert again == states, moment


class Spy(optuna.samplers.RandomSampler):
    """Notes how many trials a sampler is shown for every trial."""

    def __init__(self):
        super().__init__(seed=0)
        self.seen = []

    def before_trial(self, study, trial):
        self.seen.append(len(study.get_trials(deepcopy=False)))


@pytest.mark.parametrize("name", ["hyperband", "median", "early_cancel"])
def test_samplers_see_all_trials_whatever_the_pruner(name):
    spy = Spy()
    study = optuna.create_study(
        direction="maximize", sampler=spy, pruner=make_pruner(config(name), max_epochs=9)
    )
    for _ in range(8):
        _reported(study, [0.9] * 9)
    assert spy.seen == [*range(1, 9)]


def test_unknown_name_and_option_suggest_the_nearest():
    with pytest.raises(UserError, match="early_cancel"):
        make_pruner({"name": "early_cancle"})
    with pytest.raises(UserError, match="epochs"):
        make_pruner({"name": "early_cancel", "epoch": 5})


def test_the_median_is_over_what_was_trained():
    study = optuna.create_study(
        direction="maximize", pruner=make_pruner({"name": "median", "n_startup_trials": 2})
    )
    for value, twin in ((0.2, None), (0.4, None), (0.4, 1), (0.4, 1)):
        trial = create_trial(
            value=value,
            intermediate_values={1: value},
            user_attrs={} if twin is None else {DUPLICATE_OF: twin},
        )
        study.add_trial(trial)
    for value, worse in ((0.35, False), (0.25, True)):  # than 0.3; with the duplicates, than 0.4
        trial = study.ask()
        trial.report(value, 1)
        assert trial.should_prune() is worse
        study.tell(trial, state=TrialState.FAIL)


def test_trials_told_the_score_of_another_start_no_pruning():
    study = optuna.create_study(direction="maximize", pruner=make_pruner(config("median")))
    for number in range(9):
        told = {} if number < 4 else {DUPLICATE_OF: 0}
        study.add_trial(create_trial(value=0.9, intermediate_values={1: 0.9}, user_attrs=told))
    trial = study.ask()
    trial.report(0.1, 1)
    assert not trial.should_prune()
