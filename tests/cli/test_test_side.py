"""The test side: what no search reads, and what is measured once."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import accuracy_score

from tl_hpo.files import read_csv
from tl_hpo.training import runner
from tl_hpo.training.judgement import TEST

TRIALS = ("search.n_trials=2", "search.layer_trials=2", "reuse.disk_gb=0")


def folder(root):
    # Poison would change which images look alike, and by that the groups.
    return ["dataset=folder", f"dataset.root={root}", "split.groups=none", "audit=false"]


def searched(run: Path) -> tuple[list, list, dict]:
    """Return all that a search comes to, but for its times."""
    timed = ("seconds", "started", "elapsed_seconds")
    tables = [
        [{k: v for k, v in row.items() if k not in timed} for row in read_csv(run / name)]
        for name in ("trials.csv", "curves.csv")
    ]
    best = json.loads((run / "best.json").read_text())
    return (*tables, {k: v for k, v in best.items() if k not in ("search_seconds", "test")})


def poison(root: Path, run: Path) -> int:
    """Turn every image of the test side into noise of another colour."""
    rng = np.random.default_rng(7)
    paths = [row["path"] for row in read_csv(run / "split.csv") if row["side"] == "test"]
    for path in paths:
        noise = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(noise).save(root / path)
    return len(paths)


@pytest.mark.parametrize("reuse", ["", "reuse=false"])
def test_a_poisoned_test_side_changes_nothing_about_the_search(command, image_folder, tiny, reuse):
    root = image_folder(classes=3)
    arguments = [*folder(root), *tiny, *(["reuse=false"] if reuse else TRIALS[2:]), *TRIALS[:2]]
    assert command("optimize", *arguments).code == 0
    clean = Path("runs/folder/shared")
    assert poison(root, clean) == 6
    assert command("optimize", *arguments, "name=poisoned").code == 0
    poisoned = Path("runs/folder/shared-poisoned")
    assert searched(poisoned) == searched(clean)
    weights = [run / "best_model" / "model.safetensors" for run in (clean, poisoned)]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    tests = [json.loads((run / "best.json").read_text())["test"] for run in (clean, poisoned)]
    assert tests[0] != tests[1]  # else the poison would have had no effect at all


def test_the_best_model_is_measured_once(command, image_folder, tiny, monkeypatch):
    judged = []
    judge = runner.judge_images
    monkeypatch.setattr(
        runner, "judge_images", lambda *given: judged.append(given[-1]) or judge(*given)
    )
    arguments = [*folder(image_folder(classes=3)), *tiny, *TRIALS]
    assert command("optimize", *arguments).code == 0
    run = Path("runs/folder/shared")
    first = json.loads((run / "best.json").read_text())
    assert command("optimize", *arguments).code == 0  # nothing is left to do
    assert judged == [TEST]
    again = json.loads((run / "best.json").read_text())
    assert first["test"] == again["test"]
    rows = [row for row in read_csv(run / "predictions.csv") if row["side"] == "test"]
    expected = {row["path"] for row in read_csv(run / "split.csv") if row["side"] == "test"}
    assert {row["path"] for row in rows} == expected
    accuracy = accuracy_score([r["label"] for r in rows], [r["predicted"] for r in rows])
    assert first["test"]["accuracy"] == pytest.approx(accuracy)
    summary = (run / "summary.md").read_text()
    assert "| metric | validation | test | test - validation |" in summary
    assert f"{first['test']['accuracy']:.4f} [" in summary


def test_a_measurement_that_was_cut_off_is_made_up_for(command, image_folder, tiny, monkeypatch):
    arguments = [*folder(image_folder(classes=3)), *tiny, *TRIALS]

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(runner, "judge_images", killed)
        assert command("optimize", *arguments).code == 130
    run = Path("runs/folder/shared")
    assert json.loads((run / "best.json").read_text())["test"] is None
    assert command("optimize", *arguments).code == 0
    assert json.loads((run / "best.json").read_text())["test"]["accuracy"] >= 0


def test_without_a_test_side_there_is_no_figure_for_it(command, image_folder, tiny):
    arguments = [*folder(image_folder(classes=3)), *tiny, *TRIALS, "split=random"]
    assert command("optimize", *arguments).code == 0
    run = Path("runs/folder/shared")
    assert json.loads((run / "best.json").read_text())["test"] is None
    assert "There is no test side" in (run / "summary.md").read_text()
    assert not (run / "figures" / "confusion_matrix_test.png").exists()


@pytest.mark.parametrize("measured", [True, False])
def test_train_measures_on_the_test_side_unless_told_not_to(command, image_folder, tiny, measured):
    settings = [o for o in tiny if "search" not in o and "audit" not in o]
    arguments = [o for o in folder(image_folder(classes=3)) if "audit" not in o]
    told = [] if measured else ["measure_test=false"]
    outcome = command("train", *arguments, *settings, *told, "hydra.run.dir=trial")
    assert outcome.code == 0, outcome.err
    test = json.loads(Path("trial/result.json").read_text())["test"]
    assert (test is not None) == measured == ("Test:" in outcome.out)
    sides = {row["side"] for row in read_csv(Path("trial/model/predictions.csv"))}
    assert ("test" in sides) == measured
