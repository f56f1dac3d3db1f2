import json

import pytest

from tl_hpo.errors import UserError
from tl_hpo.reporting.records import read_run


def test_reads_every_file(fake_run):
    run = read_run(fake_run(synthetic=True))
    assert (run.experiment.dataset, run.experiment.strategy) == ("kvasir", "shared")
    assert run.experiment.synthetic
    assert len(run.trials) == 10
    assert run.epochs[0].phase == "head"
    assert run.best is not None
    assert run.best.test is None
    assert run.best.overrides[0] == "model=vgg16"
    assert run.metrics is not None
    assert len(run.metrics.validation.per_class) == len(run.experiment.classes) == 5
    assert (
        sum(map(sum, run.metrics.validation.confusion))
        == len(run.predictions)
        == len(run.split)
        == 20
    )


@pytest.mark.parametrize("name", ["curves.csv", "best.json", "split.csv", "predictions.csv"])
def test_tolerates_an_absent_file(fake_run, name):
    folder = fake_run()
    (folder / name).unlink()
    assert read_run(folder).trials


def test_folder_names_stand_in_for_an_absent_experiment_json(fake_run):
    folder = fake_run()
    (folder / "experiment.json").unlink()
    run = read_run(folder)
    assert (run.experiment.dataset, run.experiment.strategy) == ("kvasir", "shared")
    assert run.root is None


def test_failed_trial_has_no_accuracy(fake_run):
    failed = next(trial for trial in read_run(fake_run()).trials if trial.state == "FAIL")
    assert failed.val_accuracy is None
    assert not failed.scored


def test_nan_accuracy_counts_as_none(fake_run):
    folder = fake_run()
    lines = (folder / "curves.csv").read_text().splitlines()[:2]
    cells = lines[1].split(",")
    cells[6] = "nan"
    (folder / "curves.csv").write_text(f"{lines[0]}\n{','.join(cells)}\n")
    assert read_run(folder).epochs[0].val_accuracy is None


@pytest.mark.parametrize("exists", [True, False])
def test_folder_that_is_no_run_folder_is_refused(tmp_path, exists):
    with pytest.raises(UserError, match=r"must hold experiment\.json or trials\.csv, got"):
        read_run(tmp_path if exists else tmp_path / "absent")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("best.json", "{"),
        ("best.json", "[]"),
        ("best_model/metrics.json", "{}"),
        ("endings.json", "{}"),
        ("endings.json", "[1]"),
        ("trials.csv", "step,number\nshared,x\n"),
        ("curves.csv", "step\nshared\n"),
    ],
)
def test_broken_file_is_named_in_one_line(fake_run, name, text):
    folder = fake_run()
    (folder / name).write_text(text)
    with pytest.raises(UserError) as told:
        read_run(folder)
    assert name.split("/")[-1] in str(told.value)
    assert "\n" not in str(told.value)


def test_labels_that_do_not_fit_the_metrics_are_refused(fake_run):
    folder = fake_run()
    (folder / "best_model" / "labels.json").write_text(json.dumps(["a", "b"]))
    with pytest.raises(UserError, match="must name the 5 classes"):
        read_run(folder)
