"""Trials whose workers die, or are taken away, on executors that let that happen."""

from dataclasses import replace

import pytest
from simulated import SimulatedRunner

from tl_hpo.files import read_csv
from tl_hpo.search.executors.base import RequeuedError, WorkerDiedError
from tl_hpo.search.experiment import Experiment


class Unlucky:
    """Runs trials after they have ended early so many times.

    Args:
        error: how they end, after some of their epochs have been reported.
    """

    workers = 1

    def __init__(self, runner, error, times):
        self._runner, self._error, self._left = runner, error, times

    def run(self, overrides, folder, report, keep_model):
        def ending(record):
            if self._left and record.number == 3:
                self._left -= 1
                raise self._error
            return report(record)

        return self._runner.run(overrides, folder, ending, keep_model)

    def stop(self):
        pass

    kill = close = stop


@pytest.fixture
def states(plan):
    def go(error, times):
        runner = SimulatedRunner()
        made = plan("strategy=shared", "search.n_trials=2")
        made = replace(made, strategy=replace(made.strategy, steps=made.strategy.steps[:1]))
        Experiment(made, runner, executor=Unlucky(runner, error, times)).run()
        curves = read_csv(made.folder / "curves.csv")
        assert len({(row["number"], row["phase"], row["epoch"]) for row in curves}) == len(curves)
        return [row["state"] for row in read_csv(made.folder / "trials.csv")]

    return go


def test_a_trial_whose_worker_dies_runs_again(states):
    assert states(WorkerDiedError("gone"), 2) == ["COMPLETE", "COMPLETE"]


def test_a_trial_has_failed_after_three_deaths(states):
    assert states(WorkerDiedError("gone"), 3) == ["FAIL", "COMPLETE"]


def test_to_be_taken_away_is_no_death(states):
    assert states(RequeuedError("pre-empted"), 10) == ["COMPLETE", "COMPLETE"]
