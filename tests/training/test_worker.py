import copy
import os
from pathlib import Path

import pytest
import torch
from omegaconf import open_dict
from PIL import Image

from tl_hpo.errors import UserError
from tl_hpo.training.devices import release_memory
from tl_hpo.training.trial import prepare, run_trial
from tl_hpo.training.worker import Worker, reuses

SHORT = ["head.epochs=1", "finetune.epochs=1"]


def resident() -> int:
    """Return the bytes of memory that this process holds."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_a_trial_gets_the_untouched_backbone_that_the_trial_before_got(trial_config):
    config = trial_config("delimiting_layer=0", "finetune.optimizer.lr=0.5")
    worker = Worker(config)
    before = copy.deepcopy(prepare(config, worker).model.state_dict())
    run_trial(config, worker=worker)
    after = prepare(config, worker).model.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_a_warm_worker_gives_the_result_of_a_new_one(trial_config):
    config = trial_config("delimiting_layer=0.5")
    worker = Worker(config)
    run_trial(trial_config("optimizer.lr=0.1"), worker=worker)
    warm, cold = run_trial(config, worker=worker), run_trial(config, worker=Worker(config))
    assert (warm.val_accuracy, warm.epochs) == (cold.val_accuracy, cold.epochs)


def test_backbones_are_built_once(trial_config, monkeypatch):
    from tl_hpo.training import trial

    built = []
    original = trial.build_backbone
    monkeypatch.setattr(
        trial, "build_backbone", lambda *given: built.append(given) or original(*given)
    )
    config = trial_config(*SHORT)
    worker = Worker(config)
    for rate in (0.1, 0.01):
        run_trial(trial_config(*SHORT, f"optimizer.lr={rate}"), worker=worker)
    assert len(built) == 1
    run_trial(trial_config(*SHORT, "seed=1"), worker=worker)
    assert len(built) == 2


def test_files_that_come_during_an_experiment_change_nothing(trial_config):
    config = trial_config(*SHORT)
    worker = Worker(config)
    first = worker.data(config, (32, 32))
    extra = next(first.table.root.rglob("*.png"))
    extra.with_name("another.png").write_bytes(extra.read_bytes())
    assert worker.data(config, (32, 32)) is first
    assert len(Worker(config).data(config, (32, 32)).images) == len(first.images) + 1


def test_thirty_trials_leave_no_memory_behind(trial_config):
    config = trial_config(*SHORT)
    worker = Worker(config)
    names = ("test_resnet", "test_efficientnet")
    sizes = []
    for number in range(30):
        settings = [f"optimizer.lr={10 ** -(1 + number / 10)}", f"model.name={names[number % 2]}"]
        settings.append(f"delimiting_layer={number / 30}")
        run_trial(trial_config(*SHORT, *settings), worker=worker)
        release_memory()
        sizes.append(resident())
    # The first trials fill what stays on purpose: kernels, images, backbones, activations.
    assert sizes[-1] < 1.05 * sizes[3]


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("reuse=maybe", "reuse must be false or a table"),
        ("reuse=true", "reuse must be false or a table"),
        ("reuse.memory_gb=-1", "reuse.memory_gb must be a number of gigabytes or null, got -1"),
        ("reuse.disk_gb=.nan", "reuse.disk_gb must be a number"),
        ("reuse.gpu_gb=much", "reuse.gpu_gb must be a number"),
    ],
)
def test_budgets_that_are_no_sizes_are_refused(trial_config, override, told):
    with pytest.raises(UserError, match=told):
        run_trial(trial_config(override, "dataset.root=absent"))


def test_reuse_can_be_switched_off(trial_config):
    assert reuses(trial_config())
    assert not reuses(trial_config("reuse=false"))


def test_no_image_changes_its_side_with_the_size_that_is_asked_for(trial_config, image_folder):
    config = trial_config("split.groups=none")
    root = Path(config.dataset.root)
    worker = Worker(config)
    small = worker.data(config, (32, 32))
    Image.new("RGB", (32, 32), "red").save(root / "class-0" / "00.png")  # comes while it runs
    for size in ((48, 48), (40, 40), (32, 32)):  # more sizes than are kept
        data = worker.data(config, size)
        assert data.table.paths == small.table.paths
        for side, indices in data.split.sides().items():
            assert indices.tolist() == small.split.sides()[side].tolist()


def test_an_image_that_goes_while_an_experiment_runs_is_told(trial_config):
    config = trial_config("split.groups=none")
    worker = Worker(config)
    worker.data(config, (32, 32))
    (Path(config.dataset.root) / "class-0" / "3.png").unlink()
    with pytest.raises(UserError, match=r"readable while an experiment runs, got 1 .*3\.png"):
        worker.data(config, (48, 48))


def test_where_images_were_fetched_from_is_no_other_dataset(trial_config):
    config = trial_config()
    worker = Worker(config)
    first = worker.data(config, (32, 32))
    with open_dict(config):
        config.dataset.url = "http://127.0.0.1/a.zip"
    assert worker.data(config, (32, 32)) is first
