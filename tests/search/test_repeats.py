"""The best configurations, trained again, and the one that is chosen."""

import json
import statistics
from dataclasses import replace

import pytest
from optuna.storages import InMemoryStorage
from simulated import SimulatedRunner, parsed

from tl_hpo.errors import UserError
from tl_hpo.files import read_csv
from tl_hpo.search.experiment import Experiment
from tl_hpo.search.repeats import Repeats


class Lucky(SimulatedRunner):
    """The configuration that looks best in the search, with seed 7, is worse with every other."""

    def score(self, overrides):
        score = super().score(overrides)
        if parsed(overrides)["seed"] == "7":
            return score
        seed = int(parsed(overrides)["seed"])
        unlucky = super().score(overrides) > self.threshold
        return score - 0.3 * unlucky + 0.01 * seed


@pytest.fixture
def repeating(plan):
    def make(times=3, best=2, **kwargs):
        held = ["split.seed=7"]
        return replace(plan(**kwargs), seed=7, repeats=Repeats(times, best, held))

    return make


def best(p):
    return json.loads((p.folder / "best.json").read_text())


def test_the_best_are_trained_again_with_fresh_seeds_and_the_same_split(repeating, run):
    p, runner = repeating(), SimulatedRunner()
    run(p, runner)
    search, again = runner.asked[:9], runner.asked[9:]
    assert len(again) == 6
    ranked = sorted(search, key=runner.score, reverse=True)
    for index, overrides in enumerate(again):
        values = parsed(overrides)
        assert values["seed"] == str(7 + 1 + index % 3)
        assert values["split.seed"] == "7"
        origin = parsed(ranked[index // 3])
        assert values | {"seed": "7"} == origin | {"split.seed": "7"}


def test_the_highest_mean_wins_not_the_highest_score(repeating, run):
    reference = SimulatedRunner()
    p = repeating()
    scores = sorted((reference.score(a) for a in run_of(p, run)), reverse=True)
    runner = Lucky()
    runner.threshold = (scores[0] + scores[1]) / 2
    run(p, runner)
    rows = read_csv(p.folder / "repeats.csv")
    chosen = [row for row in rows if row["chosen"] == "true"]
    assert {row["configuration"] for row in chosen} == {"2"}
    for index in ("1", "2"):
        own = [row for row in rows if row["configuration"] == index]
        values = [float(row["val_accuracy"]) for row in own]
        assert float(own[0]["mean"]) == pytest.approx(statistics.mean(values))
        assert float(own[0]["sd"]) == pytest.approx(statistics.stdev(values))
    found = best(p)
    assert found["step"] == "repeats"
    assert found["val_accuracy"] == max(float(row["val_accuracy"]) for row in chosen)
    assert parsed(found["overrides"])["seed"] == chosen[-1]["seed"]  # a later seed is better here
    model = p.folder / "best_model" / "model.safetensors"
    assert model.read_text() == str(found["val_accuracy"])
    assert list(p.folder.glob("trials/repeats-*/model")) == []


def run_of(p, run):
    """The overrides that the search of a plan trains, in a folder of its own."""
    runner = SimulatedRunner()
    run(replace(p, folder=p.folder.with_name("reference"), repeats=Repeats()), runner)
    return runner.asked


class Killed(BaseException):
    """Ends the process as a signal would: nothing catches it."""


@pytest.mark.parametrize("moment", [10, 13, 15])
def test_interrupted_repeats_go_on_to_the_same_end(repeating, run, moment):
    p = repeating()
    whole = run_of(p, run)
    with pytest.raises(Killed):
        run(p, SimulatedRunner(lambda n: Killed() if n == moment else None))
    resumed = SimulatedRunner()
    run(p, resumed)
    assert len(whole) + len(resumed.asked) == 9 + 15 - (moment - 1)
    assert best(p)["step"] == "repeats"
    idle = SimulatedRunner()
    run(p, idle)
    assert idle.asked == []
    assert best(p)["step"] == "repeats"


def test_failed_trainings_are_left_out_of_the_mean(repeating, run):
    p = repeating()
    run(p, SimulatedRunner(lambda n: RuntimeError("broken") if n == 10 else None))
    rows = read_csv(p.folder / "repeats.csv")
    assert rows[0]["state"] == "FAIL"
    values = [float(row["val_accuracy"]) for row in rows[1:3]]
    assert float(rows[0]["mean"]) == pytest.approx(statistics.mean(values))


@pytest.mark.parametrize(("broken", "chosen"), [((), "1"), ((10,), "2"), ((10, 13), "1")])
def test_a_configuration_whose_trainings_fail_comes_after_one_that_is_stable(
    repeating, broken, chosen
):
    p, runner = repeating(), SimulatedRunner(lambda n: OSError("full") if n in broken else None)
    Experiment(p, runner, InMemoryStorage()).run()
    rows = read_csv(p.folder / "repeats.csv")
    assert float(rows[0]["mean"]) > float(rows[3]["mean"])
    assert {row["configuration"] for row in rows if row["chosen"] == "true"} == {chosen}
    assert best(p)["val_accuracy"] == float(rows[4 if chosen == "2" else 1]["val_accuracy"])


def test_without_one_completed_training_the_search_decides(repeating, run):
    p = repeating()
    run(p, SimulatedRunner(lambda n: RuntimeError("broken") if n > 9 else None))
    assert best(p)["step"] in ("shared", "layers")


@pytest.mark.parametrize("wrong", [{"times": -1}, {"times": 1.5}, {"best": 0}, {"best": True}])
def test_nonsense_is_refused(wrong):
    with pytest.raises(UserError, match=r"search\.repeat"):
        Repeats(**wrong)
