from dataclasses import replace

import pytest
from plotly.offline import get_plotlyjs

from tl_hpo.files import read_csv
from tl_hpo.reporting.__main__ import main
from tl_hpo.reporting.groups import groups_of, overview
from tl_hpo.reporting.page.comparison_page import write_comparison_page
from tl_hpo.reporting.page.thumbnails import PAGE_BYTES
from tl_hpo.reporting.records import read_run
from tl_hpo.reporting.several import write_comparison

pytestmark = pytest.mark.usefixtures("instant")


@pytest.fixture
def folders(fake_run):
    """Return the run folders of two strategies on two datasets."""
    return [
        fake_run(strategy, dataset, seed=seed, images=False, tested=seed == 1)
        for seed, (dataset, strategy) in enumerate(
            (d, s) for d in ("kvasir", "nerthus") for s in ("shared", "separate")
        )
    ]


def test_page_and_figures_lie_in_the_folder_that_all_have_in_common(folders, tmp_path):
    written = write_comparison(folders)
    runs = tmp_path / "runs"
    assert written[-1] == runs / "comparison.html"
    names = {path.relative_to(runs).as_posix() for path in written}
    assert names == {"comparison.html"} | {
        f"comparison/{name}"
        for dataset in ("kvasir", "nerthus")
        for name in (
            f"strategies_over_time_{dataset}.png",
            f"strategies_over_time_{dataset}.svg",
            f"best_so_far_{dataset}.png",
            f"best_so_far_{dataset}.svg",
            f"per_class_{dataset}.csv",
        )
    } | {"comparison/per_class_kvasir_test.csv"}
    html = written[-1].read_text(encoding="utf-8")
    for words in ("kvasir: experiments", "nerthus: validation accuracy over time", "0.89"):
        assert words in html


def test_output_chooses_the_folder(folders, tmp_path):
    assert main([*map(str, folders[:2]), "--output", str(tmp_path / "there")]) == 0
    assert (tmp_path / "there" / "comparison.html").is_file()


def test_a_comparison_of_very_long_experiments_stays_below_its_size(folders):
    runs = [read_run(folder) for folder in folders]
    epoch = runs[0].epochs[0]
    epochs = [
        replace(epoch, number=n, epoch=e, elapsed_seconds=10.123456789 * (30 * n + e))
        for n in range(200)
        for e in range(30)
    ]
    many = [
        replace(run, folder=run.folder.parent / f"{run.folder.name}{number}", epochs=epochs)
        for run in runs
        for number in range(3)
    ]
    path = folders[0].parent / "comparison.html"
    write_comparison_page(groups_of(many), [], path)
    plotly = len(get_plotlyjs().encode())
    assert path.stat().st_size - plotly < 1_500_000
    assert path.stat().st_size < PAGE_BYTES
    assert "Of 36,000 epochs 4,860, of the best trials, are drawn." in path.read_text("utf-8")


def test_the_table_of_classes_is_that_of_the_best_experiment(folders):
    runs = [read_run(folder) for folder in folders[:2]]
    (group,) = groups_of(runs)
    best = max(runs, key=lambda run: run.best.val_accuracy)
    assert group.runs[group.best] is best
    write_comparison(folders[:2])
    rows = read_csv(folders[0].parent / "comparison" / "per_class_kvasir.csv")
    assert float(rows[-1]["f1"]) == pytest.approx(best.metrics.validation.headline["f1"])


def test_experiments_are_listed_the_best_first_with_intervals(folders):
    runs = [read_run(folder) for folder in folders[:2]]
    (group,) = groups_of(runs)
    _, _, first, second = overview(group).splitlines()
    assert first.startswith(f"| {group.best} |")
    assert {row.split(" | ")[0] for row in (first, second)} == {"| shared", "| separate"}
    low, high = runs[1].metrics.test.intervals["accuracy"]
    assert f"{runs[1].best.test['accuracy']:.4f} [{low:.4f}, {high:.4f}]" in overview(group)


def test_other_images_of_a_dataset_of_the_same_name_are_another_group(fake_run):
    runs = [
        read_run(fake_run("shared", images=False)),
        read_run(fake_run("separate", images=False, classes=("a", "b"))),
    ]
    assert [group.name for group in groups_of(runs)] == ["kvasir (1)", "kvasir (2)"]


def test_folders_of_the_same_name_are_told_apart(fake_run, tmp_path):
    one = fake_run("shared", images=False)
    other = one.rename(tmp_path / "elsewhere")
    other = other.rename((tmp_path / "more").mkdir() or tmp_path / "more" / "shared")
    again = fake_run("shared", images=False, seed=1)
    (group,) = groups_of([read_run(other), read_run(again)])
    assert set(group.runs) == {"more/shared", "kvasir/shared"}


def test_one_unreadable_folder_is_told_and_the_others_are_compared(folders, tmp_path, caplog):
    (tmp_path / "foreign").mkdir()
    written = write_comparison([*folders[:2], tmp_path / "foreign"])
    assert "Left out of the comparison: The run folder must hold" in caplog.text
    html = written[-1].read_text(encoding="utf-8")
    assert "experiment.json or trials.csv, got &#39;foreign&#39;" in html
    assert str(tmp_path) not in html


def test_a_damaged_file_is_named_below_its_folder(folders, tmp_path):
    (folders[3] / "best.json").write_text("{")
    html = write_comparison(folders)[-1].read_text(encoding="utf-8")
    assert "Left out: nerthus/separate/best.json must be" in html
    assert str(tmp_path) not in html


def test_what_lies_beside_run_folders_is_not_looked_at(folders, caplog):
    beside = folders[0].parent
    for name in ("train", "audit"):
        (beside / name).mkdir()
        (beside / name / "split.csv").write_text("path\n")
    first = write_comparison(sorted(beside.iterdir()))[-1].read_text("utf-8")
    again = write_comparison(sorted(beside.iterdir()))[-1].read_text("utf-8")
    assert first == again
    assert "Left out" not in first + caplog.text


def test_an_experiment_may_be_called_like_what_lies_beside_it(fake_run):
    named = [fake_run(name, images=False) for name in ("train", "shared")]
    assert "2 experiments on kvasir" in write_comparison(named)[-1].read_text("utf-8")


def test_nothing_but_what_lies_beside_run_folders_is_a_mistake(tmp_path, capsys):
    (tmp_path / "train").mkdir()
    (tmp_path / "notes.txt").touch()
    assert main([str(tmp_path / "train"), str(tmp_path / "notes.txt")]) == 2
    assert "At least one of 0 run folders must be readable" in capsys.readouterr().err


def test_none_readable_is_a_mistake_told_in_one_line(tmp_path, capsys):
    (tmp_path / "other").mkdir()
    assert main([str(tmp_path), str(tmp_path / "other")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("At least one of 2 run folders must be readable, got none.")


def test_output_without_a_comparison_is_refused(folders, capsys):
    assert main([str(folders[0]), "--output", "there"]) == 2
    assert "must go with several run folders" in capsys.readouterr().err


def test_unfinished_experiments_are_compared_too(folders):
    (folders[0] / "best.json").unlink()
    (folders[0] / "curves.csv").unlink()
    html = write_comparison(folders[:2])[-1].read_text(encoding="utf-8")
    assert "No trial has finished yet." in html
