"""predict.py: what a trained model says, from the command line."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import trained
from PIL import Image
from videos import write_video

from tl_hpo.files import read_csv

CPU = "trainer.accelerator=cpu"
EXPLAINED = ("model={run}", "input={images}", "explain=gradcam")


@pytest.fixture
def run(trained_run, tmp_path):
    """A copy of the run folder, to be changed."""
    return Path(shutil.copytree(trained_run, tmp_path / "run"))


@pytest.fixture
def images(trained_run):
    return trained_run.parent / "images"


def without_temperature(run: Path) -> None:
    path = run / "model" / "calibration.json"
    told = json.loads(path.read_text()) | {"temperature": 1.0}
    path.write_text(json.dumps(told))


def check_against_the_experiment(run: Path, output: Path) -> int:
    """Compare with predictions.csv; return the number of images compared."""
    said = {row["path"]: row for row in read_csv(output)}
    judged = read_csv(run / "model" / "predictions.csv")
    for row in judged:
        mine = said[row["path"]]
        assert mine["predicted"] == row["predicted"]
        assert float(mine["probability"]) == pytest.approx(float(row["confidence"]), abs=2e-6)
    return len(judged)


def test_predictions_are_those_of_the_experiment(command, run, images):
    without_temperature(run)
    outcome = command("predict", f"model={run}", f"input='{images}'", CPU)
    assert outcome.code == 0, outcome.err
    assert check_against_the_experiment(run, Path("predictions.csv")) == 18
    assert "per second" in outcome.out
    assert sorted(path.name for path in Path().iterdir()) == ["predictions.csv", "run"]


def test_a_model_judged_by_the_mean_over_views_predicts_by_it(command, tmp_path):
    run = trained.train(tmp_path, "augment=flips", "augment.test_time=true", "head.epochs=1")
    without_temperature(run)
    outcome = command("predict", f"model={run / 'model'}", f"input={tmp_path / 'images'}", CPU)
    assert outcome.code == 0, outcome.err
    check_against_the_experiment(run, Path("predictions.csv"))


def test_probabilities_are_scaled_by_the_temperature_and_sum_to_one(command, run, images):
    arguments = ("predict", f"model={run / 'model'}", f"input={images}", CPU)
    temperature = json.loads((run / "model" / "calibration.json").read_text())["temperature"]
    assert abs(temperature - 1) > 0.05
    assert command(*arguments, "output=scaled/here.csv").code == 0
    without_temperature(run)
    assert command(*arguments, "output=raw.csv").code == 0
    columns = [f"probability_{name}" for name in sorted(trained.CLASSES)]
    scaled, raw = (pd.read_csv(name) for name in ("scaled/here.csv", "raw.csv"))
    assert list(scaled.columns) == ["path", "predicted", "probability", *columns, "reason"]
    assert scaled[columns].sum(axis=1).to_numpy() == pytest.approx(1, abs=1e-5)
    assert list(scaled.predicted) == list(raw.predicted)
    sure = (raw[columns] > 1e-3).all(axis=1)  # where six decimals are enough
    logs = [np.log(each[columns[0]] / each[columns[1]]) for each in (raw[sure], scaled[sure])]
    assert (logs[0] / logs[1]).to_numpy() == pytest.approx(temperature, rel=0.01)


def test_a_model_of_an_older_version_has_no_temperature_and_says_so(command, run, images):
    (run / "model" / "calibration.json").unlink()
    outcome = command("predict", f"model={run}", f"input={images / 'normal'}", CPU)
    assert outcome.code == 0
    assert "without temperature scaling" in outcome.out


def test_unreadable_images_have_a_reason_and_the_others_a_class(command, run, images, tmp_path):
    given = shutil.copytree(images / "normal", tmp_path / "given images")
    for number in range(12):
        (given / f"broken-{number}.jpg").write_bytes(b"\xff\xd8\xff no image")
    outcome = command("predict", f"model={run}", "input='given images'", CPU, "batch_size=5")
    assert outcome.code == 0, outcome.err
    rows = read_csv(Path("predictions.csv"))
    assert len(rows) == 28
    broken = [row for row in rows if row["path"].startswith("broken")]
    assert all(row["reason"] and not row["predicted"] for row in broken)
    assert all(row["predicted"] for row in rows if row not in broken)
    assert outcome.out.count("Cannot be read: broken") == 10
    assert "12 of 28 images cannot be read" in outcome.out


@pytest.mark.parametrize(
    ("mode", "suffix"),
    [("L", "png"), ("CMYK", "jpg"), ("I;16", "png"), ("RGBA", "png"), ("P", "gif"), ("1", "png")],
)
def test_any_colour_mode_is_seen_as_training_sees_it(command, run, images, tmp_path, mode, suffix):
    source = Image.open(images / "normal" / "3.png")
    if mode == "I;16":
        image = Image.fromarray(np.asarray(source.convert("L")).astype(np.uint16) * 257)
    else:
        image = source.convert(mode)
    image.save(tmp_path / f"a.{suffix}")
    outcome = command("predict", f"model={run}", f"input=a.{suffix}", CPU)
    assert outcome.code == 0, outcome.err
    assert read_csv(Path("predictions.csv"))[0]["predicted"] in trained.CLASSES


def test_a_video_gives_a_row_per_frame_and_a_timeline(command, run, tmp_path, drawn):
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 256, (48, 64, 3), dtype=np.uint8) for _ in range(30)]
    write_video(tmp_path / "my film.mp4", frames)
    outcome = command("predict", f"model={run}", "input='my film.mp4'", "output=o.csv", CPU)
    assert outcome.code == 0, outcome.err
    rows = read_csv(Path("o.csv"))
    assert [row["frame"] for row in rows] == ["0", "5", "10", "15", "20", "25"]
    assert [float(row["seconds"]) for row in rows] == [0, 0.5, 1, 1.5, 2, 2.5]
    with Image.open("o.timeline.png") as image:
        assert image.width > 1000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("model={run}",), "input must be given, got none"),
        (("input={run}",), "model must be given, got none"),
        (("model=absent", "input={images}"), "must hold model.safetensors, got 'absent'"),
        (("model={run}", "input=absent"), "input must be an image, a folder"),
        (("model={run}", "input={run}/split.csv"), "input must hold an image that can be read"),
        (("model={run}", "input=empty"), "input must hold images"),
        (("model={run}", "input=broken.mp4"), "input must hold an image that can be read"),
        (("model={run}", "input=broken.png"), "input must hold an image that can be read"),
        (("model={run}", "input={images}", "batch_size=0"), "batch_size must be an integer"),
        (("model={run}", "input={images}", "every=-1"), "every must be a number"),
        (("model={run}", "input={images}", "precision=16"), "precision must be auto, 32 or bf16"),
        (("model={run}", "input={images}", "output={run}/p.csv"), "output must not lie in"),
        (("model={run}", "input={images}", "output=empty"), "output must be a file"),
        (("model={run}", "input={images}", "output=broken.png/p.csv"), "output must have a folder"),
        (("model={run}", "export=onnx", "export_path=empty"), "export_path must be a file"),
        (("model={run}", "export=onnx", "export_path=broken.png/m"), "export_path must have a fol"),
        ((*EXPLAINED, "explain_dir=broken.png"), "explain_dir must have a folder"),
        ((*EXPLAINED, "explain_dir=broken.png/maps"), "(broken.png: Not a directory)"),
        ((*EXPLAINED, "output={images}/p.csv"), "heat maps must not lie in the input"),
        ((*EXPLAINED, "explain_dir={images}"), "set explain_dir=DIR to a folder outside"),
        (("model={run}", "input={images}", "trainer.accelerator=tpu"), "must be a known name"),
        (("model={run}", "input=größe"), "quotes within quotes"),
        (("model={run}", "inputs=x"), "has no setting inputs"),
    ],
)
def test_a_mistake_is_told_in_a_line(command, run, images, tmp_path, arguments, message):
    (tmp_path / "empty").mkdir()
    for name in ("broken.mp4", "broken.png"):
        (tmp_path / name).write_bytes(b"\x00\x00\x00\x18ftypmp42 broken")
    own = [text.format(run=run, images=images) for text in arguments]
    outcome = command("predict", *own, *([] if "trainer" in own[-1] else [CPU]))
    assert outcome.code == 2
    assert message in outcome.err
    assert outcome.err.count("\n") == 1, outcome.err
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "broken.mp4", "broken.png", "empty", "run",
    ]  # fmt: skip


def test_help_answers_without_the_heavy_imports(start):
    process = start("predict.py", "--help", PYTHONPROFILEIMPORTTIME="1")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    imported = {line.rpartition("|")[2].strip() for line in err.splitlines()}
    assert imported.isdisjoint({"torch", "timm", "av", "matplotlib"})
    assert "python predict.py model=" in out
    assert "every: 0.5" in out


def test_heat_maps_lie_beside_the_predictions(command, run, images, tmp_path):
    arguments = ("predict", f"model={run}", f"input={images}", CPU, "explain=gradcam")
    outcome = command(*arguments, "output=all.csv", "explain_limit=3")
    assert outcome.code == 0, outcome.err
    drawn = sorted(Path("all.gradcam").rglob("*.png"))
    assert len(drawn) == 3
    with Image.open(drawn[0]) as image:
        assert image.size == (56, 40)
    assert "the first 3 alone" in outcome.out


def test_bad_places_are_told_before_the_model_is_read(command, images, tmp_path):
    (tmp_path / "file").write_text("a")
    for arguments, key in (
        (("export=onnx", "export_path=file/model.onnx"), "export_path"),
        ((f"input={images}", "explain=gradcam", "explain_dir=file"), "explain_dir"),
        ((f"input={images}", "explain=gradcam", f"output={images}/p.csv"), "heat maps"),
    ):
        outcome = command("predict", "model=absent", *arguments)
        assert outcome.code == 2
        assert outcome.err.startswith(f"error: {key} must"), outcome.err


def test_heat_maps_of_images_may_lie_elsewhere_than_the_output(command, run, images, tmp_path):
    given = shutil.copytree(images / "normal", tmp_path / "new")
    arguments = ("predict", f"model={run}", "input=new", "output=new/predictions.csv", CPU)
    for _ in range(2):
        outcome = command(*arguments, "explain=gradcam", "explain_dir=maps", "explain_limit=1")
        assert outcome.code == 0, outcome.err
        assert len(read_csv(given / "predictions.csv")) == 16
    assert len(list(Path("maps").iterdir())) == 1


def test_frames_are_explained_too(command, run, tmp_path):
    write_video(tmp_path / "film.mp4", [np.full((48, 64, 3), 99, np.uint8)] * 9)
    arguments = ("predict", f"model={run}", "input=film.mp4", "every=0", CPU, "explain=gradcam")
    assert command(*arguments, "explain_dir='heat maps'", "explain_limit=4").code == 0
    names = [path.name for path in sorted(Path("heat maps").iterdir())]
    assert names == [f"frame_{number:07d}.png" for number in range(4)]


def test_an_export_needs_no_input_and_lies_with_the_model(command, run):
    outcome = command("predict", f"model={run}", "export=torchscript")
    assert outcome.code == 0, outcome.err
    assert (run / "model" / "model.torchscript").is_file()
    assert "on 9 validation images" in outcome.out
    assert not Path("predictions.csv").exists()


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("explain=lime", "explain must be a known name, got 'lime'"),
        ("export=tflite", "export must be a known name, got 'tflite'"),
        ("explain_limit=0", "explain_limit must be an integer of at least 1"),
    ],
)
def test_a_choice_that_there_is_not_is_told(command, run, images, argument, message):
    outcome = command("predict", f"model={run}", f"input={images}", argument, CPU)
    assert outcome.code == 2
    assert message in outcome.err
