import re
import shutil

import pytest
import torch
import trained
import yaml

from tl_hpo.errors import UserError
from tl_hpo.files import write_json
from tl_hpo.reporting.leakage import write_audit
from tl_hpo.reporting.model_card import is_possible, path_of, write_card
from tl_hpo.reporting.reading import read_json
from tl_hpo.reporting.records import read_run
from tl_hpo.training.saved import load_model


@pytest.fixture
def run(fake_run, trained_run):
    """A run folder with a real model in it."""
    folder = fake_run(classes=sorted(trained.CLASSES), tested=True)
    shutil.rmtree(folder / "best_model")
    shutil.copytree(trained_run / "model", folder / "best_model")
    (folder / "config.yaml").write_text("sampler:\n  name: gpyopt\n")
    return read_run(folder)


@pytest.fixture
def card(run):
    write_card(run, path_of(run))
    return path_of(run).read_text()


def test_the_front_matter_is_what_the_hub_reads(run, card):
    _, front, _ = card.split("---\n", 2)
    told = yaml.safe_load(front)
    assert told["library_name"] == "timm"
    assert told["pipeline_tag"] == "image-classification"
    assert "license" not in told
    (entry,) = told["model-index"]
    sides = {result["dataset"]["split"]: result["metrics"] for result in entry["results"]}
    assert list(sides) == ["test", "validation"]
    for side, metrics in sides.items():
        values = {metric["type"]: metric["value"] for metric in metrics}
        assert values["accuracy"] == getattr(run.best, side)["accuracy"]
        assert values["matthews_correlation"] == getattr(run.best, side)["mcc"]


def test_its_code_loads_the_model_with_plain_timm(run, card, monkeypatch):
    (code,) = re.findall(r"```python\n(.*?)```", card, flags=re.DOTALL)
    assert "tl_hpo" not in code
    monkeypatch.chdir(path_of(run).parent)
    names: dict = {}
    exec(code, names)
    ours, _ = load_model(path_of(run).parent)
    images = torch.randint(0, 256, (3, 3, 64, 64), dtype=torch.uint8)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in ((0.5,) * 3, (0.5,) * 3))
    assert "less the mean (0.5, 0.5, 0.5), over the standard deviation (0.5, 0.5, 0.5)" in card
    with torch.no_grad():
        assert torch.allclose(names["model"]((images / 255 - mean) / std), ours(images), atol=1e-4)


def test_it_tells_all_that_a_card_should(card):
    for heading in ("Load it", "Data", "Metrics", "Intended use and limits", "How it was found"):
        assert f"\n## {heading}\n" in card
    for words in (
        "no medical device", "expected calibration error", "No license is set",
        "proposed by gpyopt", "Borgli", "| accuracy |", "random weights",
    ):  # fmt: skip
        assert words in card


def test_speed_is_told_where_it_was_measured(run):
    write_json(
        run.folder / "best_model" / "speed.json",
        {"device": "A_B", "precision": "32-true", "batch_size": 8, "images_per_second": 12.34,
         "latency_ms": 5.0},
    )  # fmt: skip
    write_card(read_run(run.folder), path_of(run))
    told = path_of(run).read_text()
    assert "On A\\_B, precision 32-true: 12.3 images per second in batches of 8 and 5.0 ms" in told


def test_a_model_judged_by_views_says_that_its_figures_are_of_their_mean(run):
    path = run.folder / "best_model" / "config.yaml"
    path.write_text(path.read_text().replace("test_time: false", "test_time: true"))
    write_card(run, path_of(run))
    assert "the mean over the views" in path_of(run).read_text()


def _split_told(folder, **split):
    path = folder / "experiment.json"
    write_json(path, read_json(path) | {"split": split})


def test_no_file_and_no_group_of_anybody_is_named(run, bad_audit):
    write_audit(run.folder, bad_audit)
    _split_told(
        run.folder,
        warnings=["2 of 4 groups lie on several sides (PATIENT-1, PATIENT-2)"],
        warnings_without_names=["2 of 4 groups lie on several sides"],
    )
    run = read_run(run.folder)
    write_card(run, path_of(run))
    card = path_of(run).read_text().replace("\\", "")
    assert "- **Warning:** 2 of 4 groups lie on several sides\n" in card
    assert "11 sets have the same file under several classes" in card
    members = [*bad_audit.exact.conflicts[0], bad_audit.pairs[0].first, bad_audit.pairs[0].second]
    for name in ("PATIENT", *(m.path for m in members), *(row.path for row in run.split)):
        assert name not in card


def test_warnings_of_an_older_folder_are_left_out_as_they_name_groups(run):
    _split_told(run.folder, warnings=["1 of 4 groups lies on several sides (PATIENT-1)"])
    run = read_run(run.folder)
    write_card(run, path_of(run))
    assert "PATIENT" not in path_of(run).read_text()


def test_a_damaged_configuration_leaves_out_what_proposed_the_trials(run):
    (run.folder / "config.yaml").write_text("sampler: {name: [\n")
    write_card(run, path_of(run))
    card = path_of(run).read_text()
    assert "proposed by" not in card
    assert "Strategy shared: 10 trials, of which" in card


def test_without_a_best_model_there_is_no_card(run):
    assert is_possible(run)
    (run.folder / "best_model" / "config.yaml").unlink()
    assert not is_possible(run)


def test_a_configuration_that_is_another_is_refused(run):
    (run.folder / "best_model" / "config.yaml").write_text("input: 3\n")
    with pytest.raises(UserError, match=r"config\.yaml must be a file that optimize\.py wrote"):
        write_card(run, path_of(run))
