import json
from pathlib import Path

import pytest
from PIL import Image

from tl_hpo.config import compose_trial
from tl_hpo.files import read_csv

HEAVY = ("torch", "timm", "lightning", "GPyOpt", "matplotlib", "sklearn", "optuna")


def folder(root):
    return ["dataset=folder", f"dataset.root={root}"]


@pytest.mark.parametrize("script", ["train.py", "optimize.py"])
@pytest.mark.parametrize("arguments", [["--help"], ["--cfg", "job"]])
def test_help_and_cfg_answer_without_the_heavy_imports(start, script, arguments):
    process = start(script, *arguments, PYTHONPROFILEIMPORTTIME="1")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    imported = {line.rpartition("|")[2].strip() for line in err.splitlines()}
    assert "hydra" in imported
    assert imported.isdisjoint(HEAVY)
    wanted = ["dataset: ", "optimizer: adadelta"] if arguments == ["--help"] else ["batch_size: 32"]
    assert all(word in out for word in wanted)


def test_the_layer_listing_takes_train_pys_overrides(start):
    process = start("-m", "tl_hpo.models.layers", "model=timm", "model.name=test_resnet")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "layers, " in out.splitlines()[-1]


def test_train_sweeps_like_any_hydra_application(command, image_folder, tiny):
    settings = [o for o in tiny if "search" not in o]
    outcome = command(
        "train", "-m", *folder(image_folder()), *settings, "model=timm",
        "model.name=test_resnet,test_efficientnet", "optimizer=sgd,adam",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    results = sorted(Path("runs/folder/train").glob("*/*/result.json"))
    assert len(results) == 4
    assert all((path.parent / "train.log").stat().st_size > 0 for path in results)


@pytest.mark.usefixtures("drawn")
def test_optimize_sweeps_put_each_experiment_where_a_single_run_would(command, image_folder, tiny):
    outcome = command(
        "optimize", "-m", *folder(image_folder()), *tiny,
        "strategy=shared,separate,separate_steps", "search.n_trials=2", "search.layer_trials=1",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    for strategy, trials in (("shared", 3), ("separate", 3), ("separate_steps", 5)):
        run = Path("runs/folder") / strategy
        assert len(read_csv(run / "trials.csv")) == trials
        for name in (
            "study.db",
            "optimize.log",
            "curves.csv",
            "best.json",
            "split.csv",
            "best_model/model.safetensors",
            "best_model/config.yaml",
            "best_model/labels.json",
            "best_model/metrics.json",
            "report.html",
            "figures/accuracy_over_time.png",
            "figures/accuracy_over_time.svg",
            "figures/confusion_matrix.png",
            "figures/class_examples.png",
            "figures/mistaken_pairs.png",
        ):
            assert (run / name).stat().st_size > 0, name
        best = json.loads((run / "best.json").read_text())
        assert list(best) == [
            "strategy", "step", "number", "overrides", "val_accuracy", "validation", "test",
            "search_seconds",
        ]  # fmt: skip
    together = Path("runs/folder/separate_steps/figures/strategies_over_time.png")
    assert Image.open(together).size[0] > 500


def test_the_overrides_of_the_best_trial_repeat_it_with_train_py(command, image_folder, tiny):
    arguments = [*folder(image_folder()), *tiny, "search.n_trials=2", "search.layer_trials=2"]
    assert command("optimize", *arguments, "strategy=separate", "finetune.epochs=2").code == 0
    best = json.loads(Path("runs/folder/separate/best.json").read_text())
    outcome = command("train", *best["overrides"], "hydra.run.dir=again", "trainer.accelerator=cpu")
    assert outcome.code == 0, outcome.err
    repeated = json.loads(Path("again/result.json").read_text())
    assert repeated["val_accuracy"] == best["val_accuracy"]
    assert repeated["validation"] == best["validation"]


def test_what_the_command_line_sets_is_held_fixed_and_said(command, image_folder, tiny):
    outcome = command(
        "optimize", *folder(image_folder()), *tiny[:-1], "model=timm", "model.name=test_resnet",
        "optimizer=sgd", "delimiting_layer=0.5", "search.n_trials=2",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    assert "Held fixed by the command line: model, optimizer, delimiting_layer" in outcome.out
    assert "Searched: optimizer.lr" in outcome.out
    rows = read_csv(Path("runs/folder/shared/trials.csv"))
    assert [row["step"] for row in rows] == ["shared"] * 2
    assert {row["head_optimizer"] for row in rows} == {"sgd"}
    assert len({row["head_lr"] for row in rows}) == 2


def test_a_strategy_of_the_users_own_folder_needs_no_python(command, image_folder, tiny, tmp_path):
    (tmp_path / "mine" / "strategy").mkdir(parents=True)
    (tmp_path / "mine" / "strategy" / "rates.yaml").write_text(
        "name: rates\nsteps:\n- name: rates\n  trials: ${search.n_trials}\n"
        "  space:\n    finetune.optimizer.lr: {low: 0.001, high: 0.1, log: true}\n"
    )
    outcome = command(
        "optimize", "--config-dir", "mine", *folder(image_folder()), *tiny, "strategy=rates",
        "model=timm", "model.name=test_resnet", "search.n_trials=2",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    assert len(read_csv(Path("runs/folder/rates/trials.csv"))) == 2


def test_silent_but_for_a_line_per_trial_when_the_output_is_no_terminal(
    command, image_folder, tiny
):
    outcome = command(
        "optimize", *folder(image_folder()), *tiny, "search.n_trials=2", "search.layer_trials=1"
    )
    assert outcome.err == ""
    assert sum(line.startswith(("shared ", "layers ")) for line in outcome.out.splitlines()) == 3


@pytest.mark.parametrize("experiment", ["paper_kvasir", "paper_nerthus"])
def test_the_papers_experiments_set_the_papers_choices(command, experiment):
    outcome = command("optimize", f"experiment={experiment}", "--cfg", "job", "--resolve")
    assert outcome.code == 0
    for line in (
        "axes: raw",
        "n_initial: 5",
        "n_trials: 10",
        "layer_trials: 10",
        "log: false",
        "low: 0.0001",
        "high: 1.0",
        "threshold: 0.5",
        "validation: 0.3",
        "delimiting_layer: 0.6666666666666666",
        "weights: imagenet",
        "groups: none",
    ):
        assert line in outcome.out, line


def test_one_optimizer_for_both_phases_or_one_each():
    both = compose_trial(["optimizer=sgd", "optimizer.lr=0.3"])
    assert both.head.optimizer == both.finetune.optimizer
    assert both.head.optimizer.lr == 0.3
    each = compose_trial(
        ["optimizer@head.optimizer=sgd", "head.optimizer.lr=0.5", "finetune.optimizer.lr=0.25"]
    )
    assert (each.head.optimizer._target_, each.head.optimizer.lr) == ("torch.optim.SGD", 0.5)
    assert (each.finetune.optimizer._target_, each.finetune.optimizer.lr) == (
        "torch.optim.Adam",
        0.25,
    )


def test_a_value_that_is_the_usual_one_is_held_fixed_too(command, image_folder, tiny):
    usual = ["optimizer.lr=0.001", "optimizer@head.optimizer=adam"]  # adam's own, and adam
    outcome = command(
        "optimize", *folder(image_folder()), *tiny, *usual, "search.optimizers=[sgd,nadam]",
        "search.n_trials=3", "search.layer_trials=1", "sampler=random",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    rows = read_csv(Path("runs/folder/shared/trials.csv"))
    assert {(row["head_lr"], row["finetune_lr"]) for row in rows} == {("0.001", "0.001")}
    assert {row["head_optimizer"] for row in rows} == {"adam"}
    assert {row["finetune_optimizer"] for row in rows} <= {"sgd", "nadam"}
    assert "optimizer@head.optimizer" in outcome.out


def test_folds_are_swept_into_a_run_folder_each(command, image_folder, tiny):
    outcome = command(
        "optimize", "-m", *folder(image_folder()), *tiny[:-1], "model=timm",
        "model.name=test_resnet", "split=kfold", "split.folds=3", "split.fold=0,1,2",
        "search.n_trials=1", "search.layer_trials=1",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    tested = [
        row["path"]
        for fold in range(3)
        for row in read_csv(Path(f"runs/folder/shared-fold{fold}/split.csv"))
        if row["side"] == "test"
    ]
    assert len(tested) == len(set(tested)) == 20


def test_a_split_is_told_once_and_can_be_used_again(command, image_folder, tiny):
    arguments = [*folder(image_folder()), *tiny, "search.n_trials=2", "search.layer_trials=1"]
    outcome = command("optimize", *arguments)
    assert outcome.code == 0, outcome.err
    told = [line for line in outcome.out.splitlines() if line.startswith("Split: ")]
    assert told == [
        "Split: train 12 images, 60.0 % (asked 60), validation 4 images, 20.0 % (asked 20), "
        "test 4 images, 20.0 % (asked 20)"
    ]
    written = Path("runs/folder/shared/split.csv")
    settings = [o for o in tiny if "search" not in o]
    outcome = command(
        "train", *folder("images"), *settings, "model=timm", "model.name=test_resnet",
        "split=file", f"split.file={written}", "hydra.run.dir=again",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    assert Path("again/split.csv").read_bytes() == written.read_bytes()


def test_videos_stay_apart_by_default_and_cross_where_asked(command, tiny):
    phantom = ["dataset.classes=2", "dataset.images_per_class=30", "dataset.size=32"]
    settings = [*phantom, *(o for o in tiny if "search" not in o), "model=timm"]
    for choice, told in (
        ("holdout", "Groups: 10, each on one side"),
        ("random", "of 10 groups lie"),
    ):
        outcome = command(
            "train", *settings, "model.name=test_resnet", f"split={choice}",
            f"hydra.run.dir={choice}",
        )  # fmt: skip
        assert outcome.code == 0, outcome.err
        assert told in outcome.out
        pairs = {(row["group"], row["side"]) for row in read_csv(Path(choice) / "split.csv")}
        assert (len(pairs) == 10) == (choice == "holdout")
