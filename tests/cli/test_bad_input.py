"""Every mistake of a user: exit code 2, one line with rule, value and remedy, nothing lost."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from tl_hpo.files import read_csv


def assert_told(outcome, *words):
    assert outcome.code == 2, outcome.err
    lines = [line for line in outcome.err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, outcome.err
    assert "Traceback" not in outcome.err + outcome.out
    for word in words:
        assert word in lines[0]


def folder(root):
    return ["dataset=folder", f"dataset.root={root}"]


@pytest.mark.parametrize("script", ["train", "optimize"])
def test_missing_root(command, script):
    assert_told(
        command(script, *folder("nowhere"), "model.weights=random"), "dataset.root", "nowhere"
    )


def test_no_root(command):
    assert_told(command("train", "dataset=folder", "model.weights=random"), "dataset.root=")


def test_empty_root(command, tmp_path):
    (tmp_path / "empty").mkdir()
    assert_told(command("train", *folder("empty"), "model.weights=random"), "empty")


def test_one_class_only(command, image_folder, tiny):
    root = image_folder(classes=1)
    assert_told(command("optimize", *folder(root), *tiny), "at least 2 classes", "class-0")


def test_a_class_with_one_image(command, image_folder, tiny):
    root = image_folder()
    Image.new("RGB", (32, 32)).save(root / "lonely.png")
    (root / "class-2").mkdir()
    (root / "lonely.png").rename(root / "class-2" / "lonely.png")
    assert_told(command("optimize", *folder(root), *tiny), "class-2", "1")


def test_files_that_are_no_images_are_named_and_skipped(command, image_folder, tiny):
    root = image_folder()
    (root / "class-0" / "notes.jpg").write_text("no image")
    arguments = [*folder(root), *tiny, "search.n_trials=1", "search.layer_trials=1"]
    outcome = command("optimize", *arguments)
    assert outcome.code == 0, outcome.err
    assert "notes.jpg" in outcome.out + outcome.err
    paths = [row["path"] for row in read_csv(Path("runs/folder/shared/split.csv"))]
    assert len(paths) == 20
    assert "class-0/notes.jpg" not in paths


def test_no_file_is_an_image(command, tmp_path):
    for name in ("a", "b"):
        (tmp_path / "texts" / name).mkdir(parents=True)
        for number in range(3):
            (tmp_path / "texts" / name / f"{number}.jpg").write_text("text")
    assert_told(command("train", *folder("texts"), "model.weights=random"), "0.jpg")


def test_truncated_images(command, image_folder, tiny):
    root = image_folder(per_class=3)
    whole = (root / "class-0" / "0.png").read_bytes()
    (root / "class-0" / "0.png").write_bytes(whole[: len(whole) // 2])
    outcome = command("train", *folder(root), *[o for o in tiny if "search" not in o])
    assert_told(outcome, "0.png", "max_unreadable")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["model=vgg61"], ["model must be a known name", "'vgg61'", "vgg16"]),
        (["model=timm", "model.name=mobilenetv2"], ["'mobilenetv2'", "mobilenetv2_100"]),
        (["optimizer=adma"], ["optimizer must be a known name", "adam"]),
        (["optimizer.lr=0"], ["optimizer.lr", "positive", "got 0"]),
        (["optimizer.lr=-1"], ["optimizer.lr", "positive", "got -1"]),
        (["optimizer.lr=nan"], ["optimizer.lr", "positive", "got nan"]),
        (["model=vgg16", "delimiting_layer=-1"], ["0..31", "got -1"]),
        (["model=vgg16", "delimiting_layer=32"], ["0..31", "got 32"]),
        (["model=vgg16", "delimiting_layer=1.5"], ["0..31", "got 1.5"]),
        (["nonsense=1"], ["nonsense"]),
        (["batch_size=0"], ["batch_size", "0"]),
        (["batch_size=1.5"], ["batch_size", "1.5"]),
        (["batch_size=null"], ["batch_size", "None"]),
        (["dataset.max_unreadable=abc"], ["dataset.max_unreadable", "abc"]),
        (["head=null"], ["head"]),
        (["model.weights=null"], ["model.weights", "None"]),
        (["model=timm", "model.name=123"], ["model.name", "123"]),
        (["model=timm", "model.name=resnet18.foo"], ["resnet18.foo"]),
        (["trainer.accelerator=foo"], ["trainer.accelerator", "foo", "cpu"]),
        (["optimizer=sgd", "optimizer.momentum=0.9"], ["head.optimizer.momentum=..."]),
        (["model=vgg16", "image_size=32", "head.weights=no.safetensors"], ["head.weights"]),
        (["split=null"], ["the configuration must be", "split"]),
        (["augment=null"], ["the configuration must be", "augment"]),
        (["augment=flip"], ["augment must be a known name", "flips"]),
        (["imbalance=weights"], ["imbalance must be a known name", "class_weights"]),
        (["split.validation=1.5"], ["split.validation", "1.5"]),
        (["split.validation=0.5", "split.test=0.5"], ["split.test", "to train on"]),
        (["split.groups=vidoe"], ["split.groups", "'vidoe'", "video"]),
        (["split.groups=[video]"], ["split.groups", "['video']"]),
        (["split.groups=video"], ["split.groups=video", "near_duplicates"]),
        (["split=kfold", "split.fold=5"], ["split.fold", "0 to 4", "got 5"]),
        (["split=kfold", "split.folds=11"], ["split.folds", "10", "got 11"]),
        (["split=kfold", "split.fold=[0,1]"], ["split.fold", "[0, 1]"]),
        (["split=official"], ["split=official", "split=holdout"]),
        (["split=file"], ["split.file", "None"]),
        (["split=file", "split.file=no.csv"], ["split.file", "no.csv"]),
        (["split=houldout"], ["split must be a known name", "'houldout'", "holdout"]),
    ],
)
@pytest.mark.parametrize("script", ["train", "optimize"])
def test_wrong_settings(command, image_folder, script, arguments, words):
    root = image_folder()
    assert_told(command(script, *folder(root), "model.weights=random", *arguments), *words)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["strategy=sharde"], ["strategy must be a known name", "shared"]),
        (
            ["sampler=tpe", "sampler.ARD=true"],
            ["sampler=tpe has no setting ARD; it has: n_initial."],
        ),
        (["sampler.ARD=true"], ["sampler.ARD must be False", "set sampler=gpyopt_plain"]),
        (["sampler=random", "sampler.n=1"], ["sampler=random has no settings of its own, got n"]),
        (["search.trials=3"], ["search has no setting trials; it has: n_trials, layer_trials"]),
        (["sampel=tpe"], ["the configuration has no setting sampel. Did you mean sampler"]),
        (["search.models=[]"], ["model", "at least one choice"]),
        (["search.optimizers=[]"], ["optimizer", "at least one choice"]),
        (["search.models=densenet121"], ["model", "at least one choice", "densenet121"]),
        (["search.optimizers=[sgd,adma]"], ["optimizer must be a known name", "adam"]),
        (["search.optimizers=[1]"], ["optimizer", "names"]),
        (["search.lr=null"], ["optimizer.lr", "low and high"]),
        (["pruner.relative=true", "objective=val_mcc"], ["pruner.relative", "val_mcc"]),
        (["pruner.epochs=abc"], ["pruner.epochs", "abc"]),
        (["model.weights=w.safetensors"], ["model.weights", "several models"]),
        (["search.models=[densnet121]"], ["densnet121", "densenet121"]),
        (["search.n_trials=0"], ["at least 1", "got 0"]),
        (["search.layer_trials=0"], ["at least 1", "got 0"]),
        (["search.lr.low=0"], ["optimizer.lr", "positive"]),
        (["search.lr.low=2"], ["low <= high"]),
        (["sampler.n_initial=0"], ["n_initial", "got 0"]),
        (["sampler=gpy"], ["sampler must be a known name", "gpyopt"]),
        (["pruner.threshold=2"], ["threshold", "2"]),
        (["seed=-1"], ["seed", "-1"]),
        (["split=file", "split.file=x.csv", "seed=5000000000"], ["seed", "5000000000"]),
        (["audit=maybe"], ["audit must be true or false", "maybe"]),
    ],
)
def test_wrong_searches(command, image_folder, tiny, arguments, words):
    assert_told(command("optimize", *folder(image_folder()), *tiny, *arguments), *words)
    assert not Path("runs/folder/shared/trials.csv").exists()


def test_weights_of_another_architecture(command, image_folder, tmp_path):
    save_file({"conv1.weight": torch.ones(1)}, tmp_path / "other.safetensors")
    arguments = [*folder(image_folder()), "model=vgg16", "model.weights=other.safetensors"]
    words = ["'vgg16'", "features.0.weight", "conv1.weight"]
    assert_told(command("train", *arguments, "image_size=32"), *words)
    assert_told(command("optimize", *arguments, "image_size=32"), *words)


def test_imagenet_weights_without_network(command, image_folder, monkeypatch, tmp_path):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    outcome = command("train", *folder(image_folder()), "model=vgg16", "image_size=32")
    assert_told(outcome, "model.weights=FILE", "vgg16")


@pytest.mark.parametrize("script", ["train", "optimize"])
def test_a_run_folder_that_is_not_writable(command, image_folder, tmp_path, script):
    (tmp_path / "file").touch()
    outcome = command(script, *folder(image_folder()), "runs_dir=file", "model.weights=random")
    assert_told(outcome, "run folder must be writable", "runs_dir=")


def test_a_changed_configuration_is_refused_with_the_difference_and_nothing_is_lost(
    command, image_folder, tiny
):
    arguments = [*folder(image_folder()), *tiny, "search.n_trials=1", "search.layer_trials=1"]
    assert command("optimize", *arguments).code == 0
    trials = Path("runs/folder/shared/trials.csv").read_bytes()
    outcome = command("optimize", *arguments, "seed=3", "batch_size=4")
    assert_told(outcome, "seed: then 0, now 3", "batch_size: then 8, now 4", "name=")
    assert Path("runs/folder/shared/trials.csv").read_bytes() == trials
    assert command("optimize", *arguments, "name=other", "seed=3").code == 0
    assert Path("runs/folder/shared-other/best.json").exists()


def test_changed_images_are_refused_with_their_number(command, image_folder, tiny):
    root = image_folder()
    arguments = [*folder(root), *tiny, "search.n_trials=1", "search.layer_trials=1"]
    assert command("optimize", *arguments).code == 0
    split = Path("runs/folder/shared/split.csv").read_bytes()
    Image.new("RGB", (32, 32)).save(root / "class-0" / "new.png")
    assert_told(command("optimize", *arguments), "images", "1 new, 0 gone", "name=OTHER")
    assert Path("runs/folder/shared/split.csv").read_bytes() == split


def test_a_mistake_in_one_job_of_a_sweep_does_not_stop_the_others(command, image_folder, tiny):
    settings = [o for o in tiny if "search" not in o]
    arguments = [*folder(image_folder()), *settings, "model=timm", "model.name=test_resnet"]
    outcome = command("train", "-m", *arguments, "optimizer.lr=0,0.01")
    assert_told(outcome, "optimizer.lr must be a positive number, got 0")
    assert len(list(Path("runs/folder/train").glob("*/*/result.json"))) == 1


def test_relabelled_images_are_refused_with_their_number(command, image_folder, tiny, tmp_path):
    root = image_folder()
    rows = [(p.relative_to(root).as_posix(), p.parent.name) for p in sorted(root.glob("*/*.png"))]

    def write(swapped):
        lines = [f"{path},{'class-1' if path in swapped else label}" for path, label in rows]
        (tmp_path / "table.csv").write_text("\n".join(["path,label", *lines]))

    arguments = ["dataset=csv", "dataset.table=table.csv", f"dataset.root={root}", *tiny]
    arguments += ["search.n_trials=1", "search.layer_trials=1", "split=file"]
    arguments += ["split.file=split.csv"]
    (tmp_path / "split.csv").write_text(
        "\n".join(
            ["path,label,side,group"]
            + [f"{p},{c},{('train', 'validation')[i % 2]}," for i, (p, c) in enumerate(rows)]
        )
    )
    write(())
    assert command("optimize", *arguments).code == 0
    swapped = {rows[0][0], rows[1][0]}
    write(swapped)
    text = (tmp_path / "split.csv").read_text()
    for path in swapped:
        text = text.replace(f"{path},class-0", f"{path},class-1")
    (tmp_path / "split.csv").write_text(text)
    assert_told(command("optimize", *arguments), "images", "2 of another class", "name=OTHER")


def test_images_that_show_something_else_are_refused(command, image_folder, tiny):
    root = image_folder()
    arguments = [*folder(root), *tiny, "search.n_trials=1", "search.layer_trials=1"]
    arguments += ["split.groups=none"]  # else other images are other near-duplicates
    assert command("optimize", *arguments).code == 0
    Image.new("RGB", (32, 32), "red").save(root / "class-0" / "3.png")
    assert_told(command("optimize", *arguments), "other pixels", "name=OTHER")


def test_a_folder_without_results_is_audited_anew(command, image_folder, tiny, monkeypatch):
    from tl_hpo.training.runner import LocalRunner

    arguments = [*folder(image_folder()), *tiny, "search.n_trials=1", "search.layer_trials=1"]

    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(LocalRunner, "run", interrupted)
        assert command("optimize", *arguments, "split=random").code == 130
    assert command("optimize", *arguments).code == 0
    sides = json.loads(Path("runs/folder/shared/audit.json").read_text())["sides"]
    assert sides["test"] > 0


def test_a_best_model_that_is_gone_is_told(command, image_folder, tiny):
    arguments = [*folder(image_folder()), *tiny, "search.n_trials=1", "search.layer_trials=1"]
    assert command("optimize", *arguments).code == 0
    shutil.rmtree("runs/folder/shared/best_model")
    assert_told(command("optimize", *arguments), "best model must stay", "best_model")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["strategy=per_model", "search.n_trials=1"], ["at least one for each model", "1 for 2"]),
        (["search.max_hours=0"], ["search.max_hours", "0"]),
        (["search.max_hours=soon"], ["search.max_hours", "soon"]),
        (["search.min_improvement=-1"], ["search.min_improvement", "-1"]),
        (["search.repeats=-1"], ["search.repeats", "-1"]),
        (["search.repeats=2", "search.repeat_best=0"], ["search.repeat_best", "0"]),
        (["search.warm_start=nowhere"], ["search.warm_start", "nowhere", "list"]),
        (["search.warm_start=[nowhere]"], ["nowhere"]),
        (["search.warm_start=[nowhere]", "search.warm_trials=0"], ["search.warm_trials", "0"]),
        (["sampler=tpe", "sampler.n_initial=0"], ["sampler.n_initial", "0"]),
        (["pruner=median", "pruner.interval=0"], ["pruner.interval", "0"]),
        (["pruner=hyperband", "pruner.reduction_factor=1"], ["pruner.reduction_factor", "1"]),
    ],
)
def test_nonsense_of_a_search_is_told_before_anything_is_trained(
    command, image_folder, tiny, settings, words
):
    outcome = command("optimize", *folder(image_folder()), *tiny, *settings)
    assert_told(outcome, *words)
    assert not list(Path("runs").glob("folder/*/trials"))
