import statistics

import pytest
from omegaconf import OmegaConf
from sklearn.metrics import accuracy_score, f1_score

from tl_hpo.files import read_csv, write_csv
from tl_hpo.reporting.folds import find_folds, section
from tl_hpo.reporting.records import read_run


def write_config(folder, fold, folds=3, seed=0):
    split = {"kind": "kfold", "folds": folds, "fold": fold}
    OmegaConf.save({"seed": seed, "split": split}, folder / "config.yaml")


@pytest.fixture
def folds(fake_run):
    """Write three folds; on each, another third of the images is the test side."""

    def write(strategy="shared", numbers=(0, 1, 2)):
        folders = [
            fake_run(f"{strategy}-fold{number}", tested=True, seed=number) for number in numbers
        ]
        for number, folder in zip(numbers, folders, strict=True):
            rows = read_csv(folder / "predictions.csv")
            for index, row in enumerate(rows):
                row["side"] = "test" if index % 3 == number else "validation"
            write_csv(folder / "predictions.csv", list(rows[0]), rows)
            write_config(folder, number)
        return folders

    return write


def test_every_image_is_counted_in_the_fold_that_tested_on_it(folds):
    folders = folds()
    rows = [r for f in folders for r in read_csv(f / "predictions.csv") if r["side"] == "test"]
    true, predicted = [r["label"] for r in rows], [r["predicted"] for r in rows]
    found = find_folds(read_run(folders[0]))
    assert found.images == 20
    assert found.pooled["accuracy"] == pytest.approx(accuracy_score(true, predicted))
    assert found.pooled["f1"] == pytest.approx(f1_score(true, predicted, average="macro"))
    low, high = found.bounds["accuracy"]
    assert low < found.pooled["accuracy"] < high


def test_mean_and_spread_are_those_of_the_folds(folds):
    folders = folds()
    runs = [read_run(folder) for folder in folders]
    found = find_folds(runs[2])
    values = [run.best.test["accuracy"] for run in runs]
    assert found.mean(found.test, "accuracy") == pytest.approx(statistics.mean(values))
    assert found.spread(found.test, "accuracy") == pytest.approx(statistics.stdev(values))
    text = "\n".join(section(runs[1]))
    assert f"{statistics.mean(values):.4f} ± {statistics.stdev(values):.4f}" in text
    assert "Over the 20 test images of these 3 folds" in text


def test_other_experiments_and_unfinished_folds_are_left_out(folds, fake_run):
    folders = folds()
    fake_run("shared", tested=True)
    fake_run("shared-other-fold0", tested=True)
    fake_run("shared-fold7", classes=("a", "b"), tested=True)
    (folders[2] / "best.json").unlink()
    assert sorted(find_folds(read_run(folders[0])).test) == [0, 1]


@pytest.mark.parametrize("other", [{"folds": 4}, {"seed": 1}])
def test_folds_of_another_cross_validation_are_not_counted(folds, other):
    folders = folds()
    write_config(folders[1], 1, **other)
    assert sorted(find_folds(read_run(folders[0])).test) == [0, 2]
    assert find_folds(read_run(folders[1])) is None


def test_folds_that_share_a_test_image_are_not_summed_up(folds):
    folders = folds()
    rows = read_csv(folders[0] / "predictions.csv")
    rows[1]["side"] = "test"  # which fold 1 tests on too
    write_csv(folders[0] / "predictions.csv", list(rows[0]), rows)
    assert find_folds(read_run(folders[2])) is None


def test_one_fold_alone_or_no_fold_has_nothing_to_tell(folds, fake_run):
    assert section(read_run(folds(numbers=(0,))[0])) == []
    assert section(read_run(fake_run("shared", tested=True))) == []
