"""Why a step ended before it had all its trials is kept in the run folder."""

from dataclasses import asdict, replace

import pytest
from optuna.storages import InMemoryStorage
from simulated import SimulatedRunner

from tl_hpo.files import write_text
from tl_hpo.reporting.reading import read_objects
from tl_hpo.search.endings import ENDINGS_FILE, Ending, Endings
from tl_hpo.search.experiment import Experiment
from tl_hpo.search.limits import Limits


def kept(p):
    return read_objects(p.folder / ENDINGS_FILE, Ending)


@pytest.fixture
def minutes(monkeypatch):
    """A clock that a runner advances by a minute per trial."""
    told = {"seconds": 0}
    monkeypatch.setattr("tl_hpo.search.experiment.make_clock", lambda _: lambda: told["seconds"])
    return lambda n: told.update(seconds=60 * n)


def test_a_step_out_of_time_and_one_skipped_for_it_are_kept_until_they_go_on(plan, minutes):
    p, storage = plan("search.n_trials=6"), InMemoryStorage()
    short = replace(p, limits=Limits(max_hours=4 / 60))
    told = [
        Ending("shared", f"search.max_hours={4 / 60} are over", 4, 6),
        Ending("layers", f"search.max_hours={4 / 60} are over"),
    ]
    for _ in range(2):
        Experiment(short, SimulatedRunner(minutes), storage).run()
        assert kept(p) == told
    Experiment(p, SimulatedRunner(), storage).run()
    assert not (p.folder / ENDINGS_FILE).exists()


def test_what_was_said_of_a_step_is_forgotten_once_it_goes_on(plan, minutes):
    class Killed(BaseException):
        pass

    p, storage = plan("strategy=per_model", "search.n_trials=6"), InMemoryStorage()
    short = replace(p, limits=Limits(max_hours=2 / 60))
    Experiment(short, SimulatedRunner(minutes), storage).run()
    assert {each.step for each in kept(p)} == {"per_model-densenet121"}
    with pytest.raises(Killed):
        Experiment(p, SimulatedRunner(lambda _: Killed()), storage).run()
    assert kept(p) == []


def test_a_used_up_grid_and_a_step_that_searches_nothing_are_kept(plan, run):
    fixed = ("optimizer", "optimizer.lr", "delimiting_layer")
    p = plan("sampler=grid", "search.n_trials=6", fixed=fixed)
    run(p, SimulatedRunner())
    assert kept(p) == [
        Ending("shared", "every point of the grid has been tried", 2, 6),
        Ending("layers", "all that it searches is held fixed"),
    ]


def test_an_experiment_that_begins_anew_keeps_nothing_of_another(plan, tmp_path):
    p = plan()
    Endings(p.folder, InMemoryStorage()).note(Ending("old", "why", 1, 2))
    Experiment(p, SimulatedRunner(), InMemoryStorage())
    assert kept(p) == []


@pytest.mark.parametrize("text", ["{", "{}", "[1]"])
def test_a_damaged_file_is_written_anew(tmp_path, text):
    write_text(tmp_path / ENDINGS_FILE, text)
    Endings(tmp_path, InMemoryStorage()).forget("shared")
    assert not (tmp_path / ENDINGS_FILE).exists()


def test_endings_are_told_in_sentences():
    ended = Ending("shared", "search.max_hours=0.0012 are over", 2, 50)
    assert asdict(ended)["asked"] == 50
    assert ended.sentence() == (
        "Step shared ended after 2 of 50 trials: search.max_hours=0.0012 are over."
    )
    assert Ending("layers", "why").sentence() == "Step layers was skipped: why."
