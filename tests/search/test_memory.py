"""A trial for which memory is not enough: once more with half the batch, and never the end."""

import json

import pytest
from simulated import SimulatedRunner, parsed

from tl_hpo.files import read_csv
from tl_hpo.memory import MemoryShortError


class Limited(SimulatedRunner):
    """Raises that memory is short where a model of ``large`` has a batch above ``limit``."""

    def __init__(self, limit, large="vgg16"):
        super().__init__()
        self._limit, self._large = limit, large

    def run(self, overrides, folder, report, keep_model):
        values = parsed(overrides)
        if values["model"] == self._large and int(values.get("batch_size", 32)) > self._limit:
            super().run(overrides, folder, report, lambda result: False)
            raise MemoryShortError("CUDA out of memory. Tried to allocate 2 GiB.", "the trace")
        return super().run(overrides, folder, report, keep_model)


@pytest.fixture
def outcome(plan, run):
    """Run an experiment; return the rows of its trials of the large model, and of all others."""

    def go(runner, *overrides):
        p = plan(*overrides)
        run(p, runner)
        rows = read_csv(p.folder / "trials.csv")
        assert len(rows) == 9
        large = [row for row in rows if row["model"] == "vgg16"]
        assert large
        return p, large, [row for row in rows if row["model"] != "vgg16"]

    return go


def test_half_the_batch_is_tried_and_told(outcome):
    p, large, others = outcome(Limited(16))
    assert {row["state"] for row in large} == {"COMPLETE"}
    assert {row["reason"] for row in large} == {"half the batch, for lack of memory"}
    assert {row["reason"] for row in others} == {""}
    curves = read_csv(p.folder / "curves.csv")
    assert len(curves) == 6 * 9  # those of the first try are forgotten


def test_best_json_repeats_what_was_trained(outcome):
    runner = Limited(16, large="densenet121")
    p, _, _ = outcome(runner)
    best = parsed(json.loads((p.folder / "best.json").read_text())["overrides"])
    assert (best["model"], best["batch_size"], best["accumulate"]) == ("densenet121", "16", "2")


def test_no_trial_takes_over_the_smaller_batch_of_another(outcome):
    runner = Limited(16, large="densenet121")
    outcome(runner)
    asked = [parsed(overrides).get("batch_size") for overrides in runner.asked]
    assert None in asked[-2:]  # the layer step holds the best model: it begins with the whole


def test_a_trial_that_needs_more_than_that_fails_and_the_experiment_goes_on(outcome):
    p, large, others = outcome(Limited(8))
    assert {row["state"] for row in large} == {"FAIL"}
    assert {row["reason"] for row in large} == {
        "out of memory, also with half the batch (16 twice): "
        "CUDA out of memory. Tried to allocate 2 GiB."
    }
    assert {row["state"] for row in others} == {"COMPLETE"}
    errors = list(p.folder.glob("trials/*/error.txt"))
    assert len(errors) == len(large)
    assert errors[0].read_text() == "the trace"


def test_a_batch_that_cannot_be_halved_is_told(plan, run):
    p, runner = plan(), Limited(16)
    p.overrides.append("batch_size=33")
    run(p, runner)
    reasons = {row["reason"] for row in read_csv(p.folder / "trials.csv")} - {""}
    assert reasons == {
        "out of memory, and its batch cannot be halved: "
        "CUDA out of memory. Tried to allocate 2 GiB."
    }
