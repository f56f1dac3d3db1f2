import json
import subprocess
import sys
from dataclasses import replace

import pytest
from simulated import LAYERS, SimulatedRunner, parsed

from tl_hpo.errors import UserError
from tl_hpo.files import read_csv
from tl_hpo.search.records import CURVE_COLUMNS, TRIAL_COLUMNS


def rows(plan, name="trials.csv"):
    return read_csv(plan.folder / name)


def best(plan):
    return json.loads((plan.folder / "best.json").read_text())


@pytest.mark.parametrize(
    ("strategy", "counts"),
    [
        ("shared", {"shared": 6, "layers": 3}),
        ("separate", {"separate": 6, "layers": 3}),
        ("separate_steps", {"head": 6, "finetune": 6, "layers": 3}),
    ],
)
def test_a_strategy_runs_every_step_with_as_many_trials_as_asked(plan, run, strategy, counts):
    p = plan(f"strategy={strategy}")
    run(p, SimulatedRunner())
    steps = [row["step"] for row in rows(p)]
    assert {step: steps.count(step) for step in dict.fromkeys(steps)} == counts
    assert list(rows(p)[0]) == list(TRIAL_COLUMNS)
    assert list(rows(p, "curves.csv")[0]) == list(CURVE_COLUMNS)


@pytest.mark.parametrize("sampler", ["gpyopt", "gpyopt_paper", "random", "tpe"])
def test_best_json_is_the_best_trial_of_all_and_its_overrides_repeat_it(plan, run, sampler):
    p, runner = plan(f"sampler={sampler}"), SimulatedRunner()
    run(p, runner)
    scores = [runner.score(overrides) for overrides in runner.asked]
    assert best(p)["val_accuracy"] == max(scores)
    assert runner.score(best(p)["overrides"]) == max(scores)
    assert (p.folder / "best_model" / "model.safetensors").read_text() == str(max(scores))


def test_the_layer_step_holds_the_best_configuration_and_searches_its_layers(plan, run):
    p, runner = plan(), SimulatedRunner()
    run(p, runner)
    shared, layers = runner.asked[:6], runner.asked[6:]
    winner = parsed(max(shared, key=runner.score))
    for overrides in layers:
        values = parsed(overrides)
        assert {key: values[key] for key in winner} == winner
        assert 0 <= int(values["delimiting_layer"]) <= LAYERS[values["model"]]


def test_shared_gives_both_phases_one_set(plan, run):
    p, runner = plan(), SimulatedRunner()
    run(p, runner)
    for row in rows(p):
        assert row["head_optimizer"] == row["finetune_optimizer"]
        assert row["head_lr"] == row["finetune_lr"]


def test_separate_searches_a_set_per_phase_together(plan, run):
    p = plan("strategy=separate", "search.n_trials=12")
    run(p, SimulatedRunner())
    separate = [row for row in rows(p) if row["step"] == "separate"]
    assert any(row["head_lr"] != row["finetune_lr"] for row in separate)
    assert any(row["head_optimizer"] != row["finetune_optimizer"] for row in separate)


def test_separate_steps_fine_tune_the_best_blocks_model_from_that_block(plan, run):
    p, runner = plan("strategy=separate_steps"), SimulatedRunner()
    run(p, runner)
    heads, rest = runner.asked[:6], runner.asked[6:]
    assert all(parsed(each)["finetune.epochs"] == "0" for each in heads)
    winner = max(range(6), key=lambda index: runner.score(heads[index]))
    block = p.folder / "trials" / f"head-{winner}" / "head.safetensors"
    for each in rest:
        values = parsed(each)
        assert values["model"] == parsed(heads[winner])["model"]
        assert values["head.epochs"] == "0"
        assert values["head.weights"] == str(block)
        assert "finetune.epochs" not in values
    assert block.exists()


def test_what_the_command_line_sets_leaves_the_search(plan, run):
    p = plan(fixed=("optimizer.lr", "delimiting_layer", "model"))
    runner = SimulatedRunner()
    experiment = run(p, runner)
    assert list(experiment.studies) == ["shared"]  # the layer step has nothing left to search
    assert set(experiment.studies["shared"].trials[0].params) == {"optimizer"}


def test_with_everything_held_fixed_one_trial_remains(plan, run):
    p, runner = plan(fixed=("model", "optimizer", "optimizer.lr", "delimiting_layer")), None
    runner = SimulatedRunner()
    run(p, runner)
    assert runner.asked == [p.overrides]


def test_timm_names_are_candidates_beside_configs(plan, run):
    p, runner = plan("search.models=[my_timm_model]"), SimulatedRunner()
    run(p, runner)
    assert all(parsed(each)["model"] == "timm" for each in runner.asked)
    assert {row["model"] for row in rows(p)} == {"my_timm_model"}


def test_a_failing_trial_is_recorded_with_its_reason_and_the_search_goes_on(plan, run):
    p = plan()
    failing = SimulatedRunner(lambda n: RuntimeError("out of memory\nmore") if n == 2 else None)
    run(p, failing)
    second = rows(p)[1]
    assert (second["state"], second["reason"]) == ("FAIL", "RuntimeError: out of memory")
    assert "out of memory" in (p.folder / "trials" / "shared-1" / "error.txt").read_text()
    assert len(rows(p)) == 9


def test_a_step_whose_trials_all_fail_ends_the_experiment_with_the_reason(plan, run):
    with pytest.raises(RuntimeError, match=r"every trial of step shared failed.*broken"):
        run(plan(), SimulatedRunner(lambda n: ValueError("broken")))


def test_the_users_mistake_ends_the_experiment_and_loses_nothing(plan, run):
    p = plan()
    with pytest.raises(UserError):
        run(p, SimulatedRunner(lambda n: UserError("no such file") if n == 3 else None))
    assert [row["state"] for row in rows(p)] == ["COMPLETE", "COMPLETE", "RUNNING"]
    run(p, SimulatedRunner())
    assert [row["state"] for row in rows(p)] == ["COMPLETE"] * 9


def test_hopeless_trials_are_cancelled_after_the_epochs_of_the_rule(plan, run):
    p = plan("pruner=early_cancel", "search.n_trials=12", "search.models=[vgg16]")
    run(p, SimulatedRunner())
    pruned = [row for row in rows(p) if row["state"] == "PRUNED"]
    assert pruned
    assert all(row["epochs"] == "5" and row["reason"] == "early cancel" for row in pruned)
    kept = [row for row in rows(p) if row["state"] == "COMPLETE"]
    assert all(float(row["val_accuracy"]) > 0.5 for row in kept)


class Killed(BaseException):
    """Ends the process as a signal would: nothing catches it."""


@pytest.mark.parametrize("sampler", ["gpyopt", "tpe"])
@pytest.mark.parametrize("moment", [1, 4, 7, 9])
def test_an_interrupted_experiment_goes_on_to_the_same_end(plan, run, tmp_path, sampler, moment):
    whole = SimulatedRunner()
    p = plan(f"sampler={sampler}")
    reference = run(p, whole)
    states = [(t.number, t.params) for s in reference.studies.values() for t in s.trials]
    p.folder.rename(tmp_path / "reference")

    with pytest.raises(Killed):
        run(p, SimulatedRunner(lambda n: Killed() if n == moment else None))
    resumed = SimulatedRunner()
    again = run(p, resumed)
    assert [(t.number, t.params) for s in again.studies.values() for t in s.trials] == states
    assert len(resumed.asked) == 9 - (moment - 1)  # the interrupted one is run again, no other


def test_a_finished_experiment_repeated_trains_nothing(plan, run):
    p = plan()
    run(p, SimulatedRunner())
    before = best(p) | {"search_seconds": 0}
    idle = SimulatedRunner()
    run(p, idle)
    assert not idle.asked
    assert best(p) | {"search_seconds": 0} == before


def test_elapsed_seconds_go_on_over_a_restart(plan, run):
    p = plan()
    with pytest.raises(Killed):
        run(p, SimulatedRunner(lambda n: Killed() if n == 5 else None))
    run(p, SimulatedRunner())
    elapsed = [float(row["elapsed_seconds"]) for row in rows(p, "curves.csv")]
    assert elapsed == sorted(elapsed)


def test_search_needs_no_torch():
    code = (
        "import sys, tl_hpo.search.experiment, tl_hpo.search.samplers.gpyopt; "
        "sys.exit(any(name.split('.')[0] in {'torch', 'timm', 'submitit'} for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


FINETUNE_FIXED = ("finetune.optimizer.lr", "optimizer@finetune.optimizer")


def test_a_step_that_searches_nothing_still_fine_tunes_once(plan, run):
    p = plan("strategy=separate_steps", fixed=(*FINETUNE_FIXED, "delimiting_layer"))
    runner = SimulatedRunner()
    experiment = run(p, runner)
    assert {name: len(study.trials) for name, study in experiment.studies.items()} == {
        "head": 6,
        "finetune": 1,
    }
    assert "finetune.epochs" not in parsed(runner.asked[-1])


def test_the_layer_step_after_a_step_without_axes_keeps_the_chosen_model(plan, run):
    p, runner = plan("strategy=separate_steps", fixed=FINETUNE_FIXED), SimulatedRunner()
    run(p, runner)
    winner = parsed(max(runner.asked[:6], key=runner.score))
    assert {parsed(each)["model"] for each in runner.asked[6:]} == {winner["model"]}
    assert all("head.weights" in parsed(each) for each in runner.asked[6:])


@pytest.mark.parametrize("name", ["what?", "50%25", "{x}", "a b'c"])
def test_a_run_folder_may_have_any_name(plan, run, tmp_path, name):
    p = replace(plan("search.n_trials=1", "search.layer_trials=1"), folder=tmp_path / name)
    run(p, SimulatedRunner())
    assert (tmp_path / name / "study.db").stat().st_size > 0
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_what_an_interrupted_trial_reported_does_not_count_when_it_runs_again(plan, run):
    class Hopeless(SimulatedRunner):
        """First good, then killed; the same trial is bad when it runs again."""

        def __init__(self, score, kill):
            super().__init__()
            self._score, self._kill = score, kill

        def score(self, overrides):
            return self._score

        def _train(self, score, report):
            def watched(record):
                if self._kill and record.number == 4:
                    raise Killed
                return report(record)

            return super()._train(score, watched)

    p = plan("pruner=early_cancel", "search.n_trials=1", "search.layer_trials=1")
    with pytest.raises(Killed):
        run(p, Hopeless(0.9, kill=True))
    run(p, Hopeless(0.3, kill=False))
    assert {row["state"] for row in rows(p)} == {"PRUNED"}


def test_a_failed_trial_keeps_its_epochs(plan, run):
    class FailsLate(SimulatedRunner):
        def _train(self, score, report):
            epochs = super()._train(score, report)
            if len(self.asked) == 2:
                raise RuntimeError("out of memory")
            return epochs

    p = plan()
    run(p, FailsLate())
    assert len([row for row in rows(p, "curves.csv") if row["number"] == "1"]) >= 6
