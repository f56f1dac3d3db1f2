"""What the page of an experiment says, and what it must never do."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from omegaconf import OmegaConf

from tl_hpo.files import read_csv, write_csv, write_json
from tl_hpo.reporting.__main__ import main
from tl_hpo.reporting.comparison import beside_paper, compared
from tl_hpo.reporting.network import network_of
from tl_hpo.reporting.page import thumbnails
from tl_hpo.reporting.page.report_page import write_report_page
from tl_hpo.reporting.records import read_run

EVIL = "<script>alert('x')</script>"


class Elements(HTMLParser):
    """Every element of a page with its attributes, and the text outside scripts and styles."""

    def __init__(self, html):
        super().__init__()
        self.elements, self.words, self.inside = [], [], ""
        self.feed(html)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self.inside = tag

    def handle_endtag(self, tag):
        self.inside = ""

    def handle_data(self, data):
        if self.inside not in ("script", "style"):
            self.words.append(data)

    def attributes(self, name):
        return [attributes[name] for _, attributes in self.elements if name in attributes]

    def count(self, tag):
        return sum(name == tag for name, _ in self.elements)


def page_of(run):
    path = run.folder / "report.html"
    write_report_page(run, beside_paper(run, []), compared(run, []), network_of(run), path)
    return path.read_text(encoding="utf-8")


def told(run):
    return Elements(page_of(run))


def test_the_top_has_figures_intervals_paper_and_command(fake_run):
    run = read_run(fake_run(tested=True))
    page = told(run)
    low, high = run.metrics.test.intervals["accuracy"]
    assert f"95 % interval {low:.3f} to {high:.3f}" in page.text
    assert "python train.py model=vgg16 optimizer=adam 'search.models=[a,b]'" in page.text
    assert "Beside the paper" in page.text
    assert "0.89" in page.text
    assert "synthetic" not in page.text


def test_synthetic_images_are_named_at_the_top(fake_run):
    page = told(read_run(fake_run(synthetic=True)))
    assert page.text.index("The images are synthetic.") < page.text.index("Best configuration")


def test_nothing_is_fetched_and_plotly_is_there_once(fake_run):
    html = page_of(read_run(fake_run()))
    page = Elements(html)
    links = [*page.attributes("src"), *page.attributes("href")]
    assert links
    assert all(link.startswith(("#", "data:image/jpeg;base64,")) for link in links)
    assert page.count("link") == 0
    assert not re.search(r"@import|url\(", html[: html.index("</style>")])
    assert html.count("plotly.js v") == 1
    assert "default-src 'none'" in html


@pytest.mark.parametrize("name", [EVIL, "<img src=x onerror=alert(1)>", "a&lt;b", "[x](http://y)"])
def test_no_class_name_becomes_markup(fake_run, name):
    run = read_run(fake_run(classes=(name.replace("/", "∕"), "b")))
    named = replace(run.experiment, classes=(name, "b"), dataset=name, strategy=name)
    rows = [replace(r, label=name if "b" not in r.label[:1] else "b") for r in run.predictions]
    evil = replace(run, experiment=named, predictions=rows)
    page = told(evil)
    assert name in page.text
    assert "alert" not in str(page.attributes("onerror"))
    assert all(link.startswith(("#", "data:")) for link in page.attributes("href"))
    assert page.count("script") <= told(run).count("script")


def test_no_reason_and_no_step_becomes_markup(fake_run):
    run = read_run(fake_run(images=False))
    before = told(run).count("script")
    trials = [replace(trial, reason=EVIL, step=EVIL, model=EVIL) for trial in run.trials]
    epochs = [replace(epoch, step=EVIL) for epoch in run.epochs]
    page = told(replace(run, trials=trials, epochs=epochs))
    assert EVIL in page.text
    assert page.count("script") <= before


def test_missing_images_are_said_and_the_rest_is_there(fake_run):
    page = told(read_run(fake_run(images=False)))
    assert "could not be read where the dataset was" in page.text
    assert page.count("img") == 0
    assert "Every trial" in page.text


def test_images_beyond_the_budget_are_left_out_and_counted(fake_run, monkeypatch):
    monkeypatch.setattr(thumbnails.Thumbnails.__init__, "__defaults__", (6_000,))
    page = told(read_run(fake_run()))
    assert 0 < page.count("img") < 20
    assert "have no room in a file that may have 10 MB" in page.text


def varied(number):
    """Return hyperparameters of which no two trials have the same."""
    return {
        "model": f"a_model_of_a_long_name_{number % 7}",
        "head_optimizer": f"optimizer{number % 5}",
        "head_lr": 0.0123456789 + number,
        "finetune_optimizer": f"optimizer{number % 3}",
        "finetune_lr": 0.123456789 + number,
        "delimiting_layer": float(number % 427),
    }


def test_a_page_of_very_much_stays_below_its_size(fake_run):
    """Many classes, all taken for each other, long names and reasons, many epochs and trials."""
    run = read_run(fake_run(images=False, n_trials=5))
    trial, epoch = run.trials[0], run.epochs[0]
    reason, name = "out of memory, " * 200, "a-class-of-a-long-name-{:04}"
    classes = tuple(name.format(number) for number in range(50))
    side = run.metrics.validation
    large = replace(side, per_class=side.per_class[:1] * 50, confusion=((12345,) * 50,) * 50)
    much = replace(
        run,
        experiment=replace(run.experiment, classes=classes),
        trials=[
            replace(trial, step=f"step {n % 9}", number=n, reason=reason, **varied(n))
            for n in range(5000)
        ],
        epochs=[
            replace(epoch, number=n, epoch=e, elapsed_seconds=10.123456789 * (40 * n + e))
            for n in range(2500)
            for e in range(40)
        ],
        metrics=replace(run.metrics, validation=large, test=large),
        predictions=[
            replace(
                run.predictions[0],
                path=f"{label}/{'x' * 120}/{side}.jpg",
                label=label,
                predicted=predicted,
                side=side,
            )
            for label in classes
            for predicted in classes
            for side in ("validation", "test")
        ],
    )
    assert len(page_of(much).encode()) + thumbnails.BUDGET < thumbnails.PAGE_BYTES


def test_unfinished_experiment_has_a_page_that_says_so(fake_run):
    folder = fake_run()
    for path in ("best.json", "best_model/metrics.json", "predictions.csv", "curves.csv"):
        (folder / path).unlink()
    rows = [
        row | {"state": "RUNNING", "val_accuracy": ""} for row in read_csv(folder / "trials.csv")
    ]
    write_csv(folder / "trials.csv", list(rows[0]), rows)
    page = told(read_run(folder))
    assert "No trial has finished yet." in page.text
    assert "Every trial" in page.text
    assert "running" in page.text


def test_old_folder_with_trials_alone_has_a_page(fake_run):
    folder = fake_run()
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_file() and path.name != "trials.csv":
            path.unlink()
    page = told(read_run(folder))
    assert "not recorded" in page.text
    assert "Every trial" in page.text


@pytest.mark.usefixtures("instant")
def test_foreign_folder_is_told_in_a_line(tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("not ours")
    assert main([str(tmp_path)]) == 2
    assert "must hold experiment.json or trials.csv" in capsys.readouterr().err
    (tmp_path / "experiment.json").write_text("[1")
    assert main([str(tmp_path)]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_versions_seed_and_times_are_told(fake_run):
    folder = fake_run()
    path = folder / "experiment.json"
    write_json(path, json.loads(path.read_text()) | {"versions": {"torch": "2.9", "device": "X1"}})
    OmegaConf.save({"seed": 41, "split": {"kind": "holdout"}}, folder / "config.yaml")
    text = told(read_run(folder)).text
    assert "torch 2.9 device X1" in text
    assert "seed 41 split holdout" in text
    assert "the experiment ran for 20.6 minutes" in text


@pytest.mark.parametrize("damaged", [b"seed: [", b"\xff\xfe\x00", b"3", b"", b"- a\n"])
def test_a_damaged_configuration_is_not_recorded_and_the_rest_is_there(fake_run, damaged):
    folder = fake_run(images=False)
    (folder / "config.yaml").write_bytes(damaged)
    text = told(read_run(folder)).text
    assert "Settings setting value all not recorded" in text
    assert "Every trial" in text


def test_calibration_and_speed_are_told_where_they_were_measured(fake_run):
    folder = fake_run(tested=True)
    assert "Calibration" not in told(read_run(folder)).text
    errors = {"before": 0.25, "after": 0.05}
    write_json(
        folder / "best_model" / "calibration.json",
        {"temperature": 1.25, "validation": errors, "test": None},
    )
    speed = {
        "device": "GPU <1>",
        "precision": "bf16",
        "batch_size": 8,
        "images_per_second": 99.5,
        "latency_ms": 12.25,
    }
    write_json(folder / "best_model" / "speed.json", speed)
    text = told(read_run(folder)).text
    assert "validation 0.2500 0.0500" in text
    assert "On GPU <1>, precision bf16: 99.5 images per second in batches of 8" in text


def test_tables_have_captions_and_headings(fake_run):
    html = page_of(read_run(fake_run(tested=True)))
    page = Elements(html)
    assert page.count("table") == page.count("caption") > 5
    scopes = [attributes.get("scope") for tag, attributes in page.elements if tag == "th"]
    assert set(scopes) == {"row", "col"}
