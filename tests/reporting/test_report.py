import json

import pytest

from tl_hpo.errors import UserError
from tl_hpo.files import read_csv, write_csv
from tl_hpo.reporting.__main__ import main
from tl_hpo.reporting.report import write_report
from tl_hpo.search.importance import write_importance
from tl_hpo.search.slices import Slice

pytestmark = pytest.mark.usefixtures("instant")

FIGURES = {
    "delimiting_layer.png",
    "slices_shared.png",
    "slices_layer.png",
    "accuracy_over_time.png",
    "confusion_matrix.png",
    "class_examples.png",
    "mistaken_pairs.png",
    "convergence_shared.png",
    "convergence_layer.png",
    "best_so_far.png",
}
TABLES = {"per_class.csv", "summary.md", "best_so_far.csv", "report.html"}
SLICE = Slice("a", "lr", True, x=[0.1, 1], mean=[0.5, 0.6], std=[0.1, 0.1], acquisition=[0, 1])


def _names(paths):
    assert all(path.is_file() for path in paths)
    return {path.name for path in paths}


def _twice(figures):
    return {name.replace(".png", ending) for name in figures for ending in (".png", ".svg")}


def test_writes_every_table_and_figure_and_the_page_last(fake_run):
    folder = fake_run()
    written = write_report(folder, {"shared": [SLICE], "layer": []})
    figures = _twice({*FIGURES, "acquisition_shared.png"})
    assert _names(written) == {*figures, *TABLES}
    assert {path.name for path in (folder / "figures").iterdir()} == figures
    assert written[-1] == folder / "report.html"


def test_mistaken_pairs_are_drawn_of_either_side(fake_run):
    folder = fake_run()
    rows = read_csv(folder / "predictions.csv")
    write_csv(folder / "predictions.csv", list(rows[0]), [*rows, rows[0] | {"side": "test"}])
    names = _names(write_report(folder))
    assert names >= _twice({"mistaken_pairs.png", "mistaken_pairs_test.png"})


def test_strategies_of_a_dataset_are_drawn_together(fake_run):
    fake_run("separate", seed=1)
    folder = fake_run("shared", images=False)
    names = _names(write_report(folder))
    assert "strategies_over_time.png" in names
    assert "| validation accuracy, strategy separate | 0.63 | 0." in (
        folder / "summary.md"
    ).read_text(encoding="utf-8")


def test_best_so_far_of_the_strategies_is_drawn_together(fake_run, monkeypatch):
    drawn = []
    monkeypatch.setattr(
        "tl_hpo.reporting.figures.best_so_far.draw",
        lambda strategies, own, path, title: drawn.append((set(strategies), own, title)),
    )
    fake_run("separate", seed=1)
    write_report(fake_run("shared", images=False))
    title = "Best validation accuracy so far, all strategies · kvasir"
    assert drawn == [({"shared", "separate"}, "shared", title)]


def test_both_comparisons_show_the_same_experiments_under_the_same_words(fake_run, monkeypatch):
    drawn = []
    for name in ("best_so_far", "strategies_over_time"):
        monkeypatch.setattr(
            f"tl_hpo.reporting.figures.{name}.draw",
            lambda runs, *_, path, title: drawn.append((list(runs), title.split(" · ")[0])),
        )
    for number in range(7):
        fake_run(f"shared-{number}", seed=number, images=False)
    write_report(fake_run("shared", seed=9, images=False))
    (stood, first), (epochs, second) = drawn
    assert stood == epochs
    assert "shared" in stood
    assert len(stood) == 6
    assert first.partition(", ")[2] == second.partition(", ")[2] != ""


def test_importance_is_drawn_where_the_search_wrote_it(fake_run):
    folder = fake_run(images=False)
    write_importance(folder / "importance.csv", {"shared": {"model": 0.6, "optimizer.lr": 0.4}})
    assert "importance.png" in _names(write_report(folder))
    assert "## What mattered" in (folder / "summary.md").read_text(encoding="utf-8")


def test_experiment_on_other_images_is_not_compared(fake_run):
    other = fake_run("separate") / "experiment.json"
    other.write_text(json.dumps({**json.loads(other.read_text()), "dataset_root": "elsewhere"}))
    assert "strategies_over_time.png" not in _names(write_report(fake_run("shared", images=False)))


def test_broken_neighbour_is_left_out_and_named(fake_run, caplog):
    (fake_run("separate") / "best.json").write_text("{")
    assert "summary.md" in _names(write_report(fake_run("shared", images=False)))
    assert "best.json" in caplog.text


def test_missing_images_stop_no_other_figure(fake_run, caplog):
    names = _names(write_report(fake_run(images=False)))
    assert names >= FIGURES - {"class_examples.png", "mistaken_pairs.png"}
    assert "class_examples.png was not written: FileNotFoundError" in caplog.text


def test_only_what_the_files_allow(fake_run):
    folder = fake_run()
    for name in ("curves.csv", "predictions.csv", "split.csv", "best_model/metrics.json"):
        (folder / name).unlink()
    names = _names(write_report(folder))
    of_trials = FIGURES - {
        "accuracy_over_time.png",
        "confusion_matrix.png",
        "class_examples.png",
        "mistaken_pairs.png",
    }
    assert names == {"summary.md", "best_so_far.csv", "report.html", *_twice(of_trials)}


def test_step_name_cannot_leave_the_folder(fake_run):
    folder = fake_run(steps=("../up", "layer"))
    assert "convergence_.._up.png" in _names(write_report(folder))


def test_titles_say_that_images_are_synthetic(fake_run, monkeypatch):
    titles = []
    monkeypatch.setattr(
        "tl_hpo.reporting.figures.class_examples.draw",
        lambda *_, path, title: titles.append(title),
    )
    write_report(fake_run(synthetic=True))
    assert titles == ["Examples of each class · kvasir · synthetic images"]


def test_no_run_folder_is_refused(tmp_path):
    with pytest.raises(UserError):
        write_report(tmp_path)


def test_command_line_prints_what_it_wrote(fake_run, capsys):
    assert main([str(fake_run(n_trials=1))]) == 0
    assert "summary.md" in capsys.readouterr().out


def test_command_line_tells_a_mistake_in_one_line_and_returns_2(tmp_path, capsys):
    assert main([str(tmp_path)]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
