"""A storage of one writer: what it remembers is what any Optuna reads from its file."""

from pathlib import Path
from tempfile import TemporaryDirectory

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.storages import RDBStorage
from optuna.trial import TrialState

from tl_hpo.search.sole_storage import committed_together
from tl_hpo.search.study import open_storage

VALUES = st.one_of(
    st.none(), st.floats(allow_nan=False), st.text(max_size=5), st.lists(st.integers(), max_size=3)
)
ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["ask", "attribute", "report", "finish", "fail", "wait"]),
        st.integers(0, 5),
        VALUES,
    ),
    max_size=25,
)
AXES = {
    "model": optuna.distributions.CategoricalDistribution(["a", "b"]),
    "lr": optuna.distributions.FloatDistribution(1e-4, 1, log=True),
    "layer": optuna.distributions.IntDistribution(0, 9),
}


def act(study, action, number, value):
    trials = study.get_trials(deepcopy=False)
    if action == "ask":
        study.ask(fixed_distributions=AXES)
        return
    if number >= len(trials) or trials[number].state != TrialState.RUNNING:
        return
    storage, trial_id = study._storage, trials[number]._trial_id
    if action == "attribute":
        storage.set_trial_user_attr(trial_id, f"key{number % 2}", value)
        storage.set_trial_system_attr(trial_id, f"own{number % 2}", value)
    elif action == "report":
        storage.set_trial_intermediate_value(trial_id, number, number / 7)
    elif action == "finish":
        study.tell(number, number / 3)
    elif action == "fail":
        study.tell(number, state=TrialState.FAIL)
    else:
        storage.set_trial_state_values(trial_id, TrialState.WAITING)


def read_by_optuna(path, name="s"):
    storage = RDBStorage(f"sqlite:///{path}")
    trials = optuna.load_study(study_name=name, storage=storage).trials
    storage.engine.dispose()
    return trials


def known(trials, seconds):
    """Return trials without what running ones have reached, where the database may wait for it."""
    for trial in trials:
        if seconds and not trial.state.is_finished():
            trial.intermediate_values = {}
    return trials


@settings(max_examples=25, deadline=None)
@given(ACTIONS, st.integers(1, 5), st.sampled_from([0.0, 3600.0]))
def test_what_is_remembered_is_what_optuna_reads(actions, at_once, seconds):
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr("tl_hpo.search.sole_storage.SECONDS", seconds)
        path = Path(folder) / "study.db"
        storage = open_storage(path)
        study = optuna.create_study(study_name="s", storage=storage, direction="maximize")
        for begin in range(0, len(actions), at_once):
            with committed_together(study):
                for action in actions[begin : begin + at_once]:
                    act(study, *action)
            assert known(study.trials, seconds) == known(read_by_optuna(path), seconds)
        for trial in study.trials:
            assert storage.get_trial(trial._trial_id) == trial
        storage.engine.dispose()


def test_a_storage_that_is_opened_again_knows_all(tmp_path):
    path = tmp_path / "study.db"
    study = optuna.create_study(study_name="s", storage=open_storage(path))
    for number in range(3):
        study.tell(study.ask(fixed_distributions=AXES), float(number))
    again = optuna.load_study(study_name="s", storage=open_storage(path))
    again.tell(again.ask(fixed_distributions=AXES), 7.0)
    assert [trial.value for trial in again.trials] == [0.0, 1.0, 2.0, 7.0]
    assert again.trials == read_by_optuna(path)
    assert again.best_trial.number == 0


def test_nothing_is_committed_before_the_block_ends_and_all_when_it_raises(tmp_path):
    path = tmp_path / "study.db"
    study = optuna.create_study(study_name="s", storage=open_storage(path))

    def write():
        with committed_together(study):
            study.tell(study.ask(), 1.0)
            assert read_by_optuna(path) == []
            raise ValueError("an error")

    with pytest.raises(ValueError, match="an error"):
        write()
    assert [trial.value for trial in read_by_optuna(path)] == [1.0]


def test_lists_that_were_given_out_stay_as_they_were(tmp_path):
    study = optuna.create_study(study_name="s", storage=open_storage(tmp_path / "study.db"))
    trial = study.ask(fixed_distributions=AXES)
    before = study.get_trials(deepcopy=False)
    trial.set_user_attr("a", 1)
    trial.report(0.5, 1)
    study.tell(trial, 1.0)
    assert before[0].user_attrs == {}
    assert before[0].intermediate_values == {}
    assert before[0].state == TrialState.RUNNING


def test_what_a_trial_has_reached_is_written_now_and_then_and_before_it_ends(tmp_path, monkeypatch):
    path = tmp_path / "study.db"
    study = optuna.create_study(study_name="s", storage=open_storage(path))
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])

    def stored():
        return read_by_optuna(path)[0].intermediate_values

    trial = study.ask()
    trial.report(0.1, 1)
    trial.report(0.2, 2)
    assert stored() == {1: 0.1}
    assert study.trials[0].intermediate_values == {1: 0.1, 2: 0.2}  # a pruner sees all
    now[0] += 1.5
    trial.report(0.3, 3)
    assert stored() == {1: 0.1, 2: 0.2, 3: 0.3}
    trial.report(0.4, 4)
    study.tell(trial, 0.4)
    assert stored() == {1: 0.1, 2: 0.2, 3: 0.3, 4: 0.4}
    with pytest.raises(optuna.exceptions.UpdateFinishedTrialError):
        study._storage.set_trial_intermediate_value(trial._trial_id, 5, 0.5)
