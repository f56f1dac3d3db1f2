import shlex
from dataclasses import asdict, replace

import pytest

from tl_hpo.files import read_csv, write_json
from tl_hpo.reporting.markdown import plain
from tl_hpo.reporting.paper import comparison_table
from tl_hpo.reporting.records import SplitImage, read_run
from tl_hpo.reporting.tables import best_trial, command, in_words, write_per_class, write_summary
from tl_hpo.search.endings import ENDINGS_FILE, Ending
from tl_hpo.search.known_images import KnownImages
from tl_hpo.search.warm_file import WARM_FILE, write_warm_start


def _summary(run, tmp_path, rows=()):
    write_summary(run, rows, tmp_path / "summary.md")
    return (tmp_path / "summary.md").read_text(encoding="utf-8")


def test_per_class_csv_has_a_row_per_class_and_the_average(fake_run, tmp_path):
    run = read_run(fake_run())
    write_per_class(run.metrics.validation, run.experiment.classes, tmp_path / "per_class.csv")
    rows = read_csv(tmp_path / "per_class.csv")
    assert [row["class"] for row in rows] == [*run.experiment.classes, "average"]
    assert float(rows[-1]["f1"]) == pytest.approx(run.metrics.validation.headline["f1"])
    assert sum(int(row["tp"]) + int(row["fn"]) for row in rows[:-1]) == 20


def test_best_configuration_in_words(fake_run):
    trial = replace(
        read_run(fake_run()).trials[0],
        model="vgg16",
        head_optimizer="adam",
        head_lr=0.01,
        finetune_optimizer="sgd",
        finetune_lr=0.5,
        delimiting_layer=12.0,
        n_layers=19,
    )
    assert in_words(trial) == (
        "Model vgg16; classification block with adam at learning rate 0.01; fine-tuning with sgd "
        "at learning rate 0.5; delimiting layer 12 of 19 (those before are frozen)."
    )


def test_phase_that_was_not_run_is_not_told(fake_run):
    trial = replace(read_run(fake_run()).trials[0], finetune_optimizer="", finetune_lr=None)
    assert "fine-tuning" not in in_words(trial)


def test_best_trial_ignores_failed_ones(fake_run):
    trials = read_run(fake_run()).trials
    failed = replace(trials[0], state="FAIL", val_accuracy=0.99)
    assert best_trial([failed, trials[1]]) == trials[1]
    assert best_trial([failed]) is None


def test_a_cancelled_trial_is_the_best_only_where_none_was_trained_to_the_end(fake_run):
    finished = replace(read_run(fake_run()).trials[0], state="COMPLETE", val_accuracy=0.7)
    cancelled = replace(finished, number=1, state="PRUNED", val_accuracy=0.9)
    assert best_trial([cancelled, finished]) == finished
    assert best_trial([cancelled]) == cancelled


def test_the_table_of_steps_names_the_trial_that_the_search_chooses(fake_run, tmp_path):
    run = read_run(fake_run())
    trials = [
        replace(run.trials[n], number=n, state=state, val_accuracy=accuracy, seconds=0)
        for n, (state, accuracy) in enumerate([("PRUNED", 0.9), ("COMPLETE", 0.7)])
    ]
    row = "| shared | 2 | 1 | 1 | 0 | 0.7000 | 1 | 0.00 |"
    assert row in _summary(replace(run, trials=trials), tmp_path)


def test_summary_says_that_validation_was_tuned_on(fake_run, tmp_path):
    run = read_run(fake_run())
    assert "There is no test side" in _summary(run, tmp_path)
    tested = replace(run, best=replace(run.best, test=run.best.validation))
    assert "| metric | validation | test |" in _summary(tested, tmp_path)
    unfinished = replace(run, split=[SplitImage("a.png", "a", "test", "")])
    told = _summary(unfinished, tmp_path)
    assert "There is no test side" not in told
    assert "The experiment has not ended: its test images are for its end" in told


@pytest.mark.parametrize(("groups", "told"), [(20, "after 20 of 20 right"), (7, "after 7 of 7")])
def test_an_interval_without_width_is_explained(fake_run, tmp_path, groups, told):
    run = read_run(fake_run(tested=True))
    assert "has no width" not in _summary(run, tmp_path)
    intervals = {**run.metrics.test.intervals, "accuracy": (1.0, 1.0)}
    perfect = replace(run.metrics.test, intervals=intervals, groups=groups)
    summary = _summary(replace(run, metrics=replace(run.metrics, test=perfect)), tmp_path)
    assert told in summary
    assert f"up to {3 / groups:.0%} of new ones may be wrong" in summary


def test_summary_sets_test_beside_validation_and_names_the_difference(fake_run, tmp_path):
    run = read_run(fake_run(tested=True))
    text = _summary(run, tmp_path)
    ours, theirs = run.best.validation["accuracy"], run.best.test["accuracy"]
    cells = [
        f"{ours:.4f} [{ours - 0.1:.4f}, {ours + 0.1:.4f}]",
        f"{theirs:.4f} [{theirs - 0.1:.4f}, {theirs + 0.1:.4f}]",
        f"{theirs - ours:+.4f} [{theirs - ours - 0.2:+.4f}, -0.0100]",
    ]
    assert f"| accuracy | {' | '.join(cells)} |" in text
    points = (ours - theirs) * 100
    assert (
        f"Test accuracy is {points:.1f} points below validation accuracy, more than chance" in text
    )
    assert "15 on the validation side, 12 on the test side" in text
    assert "## Classes, test side" in text


@pytest.mark.parametrize(
    ("gap", "bounds", "words"),
    [
        (0.0, (-0.04, 0.04), "Test and validation accuracy are the same."),
        (-0.0004, (-0.04, 0.04), "Test and validation accuracy are the same."),
        (-0.02, (-0.06, 0.02), "2.0 points below validation accuracy, which chance alone could"),
        (
            0.05,
            (0.01, 0.09),
            "5.0 points above validation accuracy, more than chance explains",
        ),
        (
            -0.05,
            (-0.09, -0.01),
            "5.0 points below validation accuracy, more than chance explains",
        ),
    ],
)
def test_a_difference_is_only_explained_where_chance_does_not(
    fake_run, tmp_path, gap, bounds, words
):
    run = read_run(fake_run(tested=True))
    test = dict(run.best.validation, accuracy=run.best.validation["accuracy"] + gap)
    run = replace(
        run,
        best=replace(run.best, test=test),
        metrics=replace(run.metrics, difference={"accuracy": bounds}),
    )
    assert words in _summary(run, tmp_path)


def test_summary_warns_of_test_images_that_earlier_experiments_knew(fake_run, tmp_path):
    folder = fake_run(tested=True)
    write_summary(read_run(folder), (), tmp_path / "summary.md")
    assert "search.warm_start" not in (tmp_path / "summary.md").read_text(encoding="utf-8")
    known = KnownImages(["runs/a_b"], 40, 12)
    write_warm_start(folder / WARM_FILE, (), known)
    write_summary(read_run(folder), (), tmp_path / "summary.md")
    text = (tmp_path / "summary.md").read_text(encoding="utf-8")
    assert f"**Warning:** {plain(known.warning())}" in text
    assert text.index("12 of 40 test images") < text.index("## Classes")


def test_where_no_groups_are_known_intervals_are_said_to_be_by_image(fake_run, tmp_path):
    run = read_run(fake_run(tested=True))
    assert "image by image" not in _summary(run, tmp_path)
    sides = {n: replace(side, groups=20) for n, side in run.metrics.sides().items()}
    alone = replace(run, metrics=replace(run.metrics, **sides))
    assert "drawn image by image" in _summary(alone, tmp_path)


def test_few_groups_are_said_to_make_rough_intervals(fake_run, tmp_path):
    run = read_run(fake_run(tested=True))
    assert "so few groups" not in _summary(run, tmp_path)
    few = replace(run.metrics, test=replace(run.metrics.test, groups=3))
    assert "so few groups" in _summary(replace(run, metrics=few), tmp_path)


def test_an_objective_other_than_accuracy_is_named(fake_run, tmp_path):
    run = read_run(fake_run())
    assert "maximised" not in _summary(run, tmp_path)
    other = replace(run, experiment=replace(run.experiment, objective="val_balanced_accuracy"))
    assert "maximised the balanced accuracy of the validation" in _summary(other, tmp_path)


def test_a_class_of_one_group_is_named(fake_run, tmp_path):
    run = read_run(fake_run(tested=True))
    alone = replace(run.metrics.test, of_one_group=("polyps",))
    text = _summary(replace(run, metrics=replace(run.metrics, test=alone)), tmp_path)
    assert "Of polyps there is one group alone on the test side" in text


def test_summary_says_that_images_are_synthetic(fake_run, tmp_path):
    run = read_run(fake_run())
    assert "synthetic" not in _summary(run, tmp_path)
    synthetic = replace(run, experiment=replace(run.experiment, synthetic=True))
    assert "The images are synthetic" in _summary(synthetic, tmp_path)


def test_summary_quotes_the_command_that_trains_it_again(fake_run, tmp_path):
    text = _summary(read_run(fake_run()), tmp_path)
    assert "python train.py model=vgg16 optimizer=adam 'search.models=[a,b]'" in text


def test_summary_counts_the_trials_of_each_step(fake_run, tmp_path):
    text = _summary(read_run(fake_run()), tmp_path)
    assert "| shared | 5 | 3 | 1 | 1 |" in text
    assert "| layer | 5 | 3 | 1 | 1 |" in text


def test_summary_tells_beneath_the_steps_why_one_ended_early(fake_run, tmp_path):
    folder = fake_run()
    endings = [Ending("shared", "search.max_hours=1 are over", 5, 50), Ending("layer", "a*b")]
    write_json(folder / ENDINGS_FILE, [asdict(each) for each in endings])
    text = _summary(read_run(folder), tmp_path)
    told = (
        "- Step shared ended after 5 of 50 trials: search.max\\_hours=1 are over.\n"
        "- Step layer was skipped: a\\*b.\n"
    )
    assert text.index("| layer | 5 | 3") < text.index(told)


def test_summary_compares_with_the_paper_only_where_it_can(fake_run, tmp_path):
    run = read_run(fake_run())
    assert "Beside the paper" not in _summary(run, tmp_path)
    text = _summary(run, tmp_path, comparison_table("kvasir", {}, "shared"))
    assert "Borgli et al. 2019" in text
    assert "InceptionResNetV2" in text


def test_class_name_cannot_break_the_table(fake_run, tmp_path):
    run = read_run(fake_run(classes=("a|b", "c")))
    assert "| a\\|b |" in _summary(run, tmp_path)


def test_summary_of_an_experiment_without_a_finished_trial(fake_run, tmp_path):
    run = replace(read_run(fake_run()), best=None, metrics=None, trials=[])
    assert "No trial has finished yet." in _summary(run, tmp_path)


def test_the_command_that_repeats_the_best_names_the_readers_config_folders(fake_run):
    run = read_run(fake_run())
    best = replace(run.best, overrides=("optimizer=mine", "dataset.root='a b'"))
    words = shlex.split(command(run, best))
    assert words == ["python", "train.py", "optimizer=mine", "dataset.root='a b'"]
    own = replace(run, experiment=replace(run.experiment, config_dirs=("my conf", "other")))
    words = shlex.split(command(own, best))
    assert words[2:5] == ["--config-dir", "my conf", "hydra.searchpath=[file://other]"]
