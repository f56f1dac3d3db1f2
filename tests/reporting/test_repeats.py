import statistics
from dataclasses import replace

import pytest

from tl_hpo.errors import UserError
from tl_hpo.files import read_csv, write_csv
from tl_hpo.reporting.best_so_far import standings
from tl_hpo.reporting.records import REPEATS, read_run
from tl_hpo.reporting.repeats import briefly, of_the_best, section
from tl_hpo.reporting.report import write_report
from tl_hpo.reporting.tables import write_summary

COLUMNS = (
    "configuration",
    "step",
    "number",
    "seed",
    "val_accuracy",
    "state",
    "mean",
    "sd",
    "chosen",
)
ACCURACIES = {("layer", 1): (0.8, 0.7, None), ("shared", 0): (0.82, 0.84, 0.83)}


def write_repeats(folder, accuracies=ACCURACIES):
    """Write repeats.csv, and its trainings as trials, as a search would."""
    trials = read_csv(folder / "trials.csv")
    rows, again = [], []
    for rank, ((step, number), values) in enumerate(accuracies.items(), 1):
        known = [value for value in values if value is not None]
        of = next(t for t in trials if (t["step"], t["number"]) == (step, str(number)))
        for seed, value in enumerate(values):
            state = "FAIL" if value is None else "COMPLETE"
            told = {"val_accuracy": value, "state": state}
            spread = statistics.stdev(known) if len(known) > 1 else None
            own = (
                rank,
                step,
                number,
                seed,
                value,
                state,
                statistics.mean(known),
                spread,
                rank == 2,
            )
            rows.append(dict(zip(COLUMNS, own, strict=True)))
            again.append(of | told | {"step": REPEATS, "number": len(again)})
    write_csv(folder / "repeats.csv", COLUMNS, rows)
    write_csv(folder / "trials.csv", list(trials[0]), trials + again)
    curves = read_csv(folder / "curves.csv")
    more = [row | {"step": REPEATS, "val_accuracy": 0.99} for row in curves[:3]]
    write_csv(folder / "curves.csv", list(curves[0]), curves + more)
    return folder


def test_section_tells_mean_and_spread_of_each_configuration(fake_run):
    run = read_run(write_repeats(fake_run()))
    trials = {(t.step, t.number): t for t in run.trials}
    _, told, meaning, fewer = section(run)
    lines = told.splitlines()[2:]
    first, second = trials["layer", 1], trials["shared", 0]
    spread = statistics.stdev([0.8, 0.7])
    assert lines == [
        f"| {briefly(first)} | layer 1 | {first.val_accuracy:.4f} | 0.7500 ± {spread:.4f} "
        "| 2 of 3 |  |",
        f"| {briefly(second)} | shared 0 | {second.val_accuracy:.4f} | 0.8300 ± 0.0100 | 3 | yes |",
    ]
    assert "best of many trials" in meaning
    assert fewer.startswith("Trainings of 1 configuration failed and are in no mean.")


def test_the_best_configuration_is_told_with_the_mean_that_chose_it(fake_run, tmp_path):
    run = read_run(write_repeats(fake_run()))
    assert of_the_best(run) == ""  # best.json is of the search until all trainings are done
    again = replace(run, best=replace(run.best, step=REPEATS, number=4, val_accuracy=0.84))
    write_summary(again, (), tmp_path / "summary.md")
    text = (tmp_path / "summary.md").read_text(encoding="utf-8")
    assert (
        "Trial 4 of step repeats, validation accuracy 0.8400. That is the best of 3 re-trainings; "
        "their mean, by which the configuration was chosen, is 0.8300 ± 0.0100.\n" in text
    )


def test_section_is_silent_about_failures_where_there_are_none(fake_run):
    run = read_run(write_repeats(fake_run(), {("shared", 0): (0.8, 0.7)}))
    assert "failed" not in " ".join(section(run))


def test_one_training_has_no_spread(fake_run):
    run = read_run(write_repeats(fake_run(), {("shared", 0): (0.8,)}))
    assert "| 0.8000 | 1 |" in section(run)[1]


def test_configurations_in_few_words(fake_run):
    one = read_run(fake_run()).trials[0]
    settings = {
        "model": "vgg16",
        "head_optimizer": "adam",
        "head_lr": 0.01,
        "finetune_optimizer": "adam",
        "finetune_lr": 0.01,
        "delimiting_layer": 12.0,
        "n_layers": 19,
    }

    def words(**changed):
        return briefly(type(one)(**(vars(one) | settings | changed)))

    assert words() == "vgg16, adam 0.01, layer 12 of 19"
    assert words(finetune_lr=0.5) == "vgg16, adam 0.01 then adam 0.5, layer 12 of 19"
    assert words(finetune_optimizer="", finetune_lr=None) == "vgg16, adam 0.01, layer 12 of 19"
    assert words(head_optimizer="", head_lr=None, n_layers=None) == "vgg16, adam 0.01, layer 12"
    assert words(delimiting_layer=None) == "vgg16, adam 0.01"


@pytest.mark.usefixtures("instant")
def test_repeats_change_no_figure_of_the_search(fake_run, monkeypatch):
    drawn = []
    monkeypatch.setattr(
        "tl_hpo.reporting.figures.accuracy_over_time.draw",
        lambda epochs, path, title: drawn.extend(epochs),
    )
    folder = fake_run(images=False)
    before = read_run(folder)
    write_report(write_repeats(folder))
    after = read_run(folder)
    assert drawn[: len(before.epochs)] == before.epochs == after.searched_epochs
    assert standings(after) == standings(before)
    assert not (folder / "figures" / "convergence_repeats.png").exists()
    text = (folder / "summary.md").read_text(encoding="utf-8")
    assert "## Repeats" in text
    assert "| repeats | 6 | 5 | 0 | 1 |" in text


@pytest.mark.usefixtures("instant")
def test_the_figure_before_the_layer_step_beside_the_papers_is_not_of_a_repeat(fake_run):
    folder = fake_run(images=False)
    write_report(folder)
    row = "| validation accuracy before the layer step, strategy shared |"
    lines = (folder / "summary.md").read_text(encoding="utf-8").splitlines()
    before = [line for line in lines if line.startswith(row)]
    write_report(write_repeats(folder, {("shared", 0): (0.97, 0.98)}))
    lines = (folder / "summary.md").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line.startswith(row)] == before != []


def test_a_broken_file_is_named(fake_run):
    folder = write_repeats(fake_run())
    text = (folder / "repeats.csv").read_text().replace("False", "perhaps")
    (folder / "repeats.csv").write_text(text)
    with pytest.raises(UserError, match=r"repeats\.csv must be a file that optimize\.py wrote"):
        read_run(folder)


def test_summary_without_repeats_does_not_speak_of_them(fake_run, tmp_path):
    write_summary(read_run(fake_run()), (), tmp_path / "summary.md")
    text = (tmp_path / "summary.md").read_text(encoding="utf-8")
    assert "Repeats" not in text
    assert "What mattered" not in text
