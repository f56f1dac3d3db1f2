from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict

from tl_hpo.config import (
    CONF_DIR,
    compose_trial,
    group_options,
    register_resolvers,
    trial_overrides,
)

NOT_OF_A_TRIAL = {"runs_dir", "name", "trainer", "save_model", "measure_test"}


@contextmanager
def running_job(*overrides: str) -> Iterator[DictConfig]:
    """Compose optimize.yaml as Hydra does for a job, HydraConfig set."""
    register_resolvers()
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        config = compose("optimize", overrides=list(overrides), return_hydra_config=True)
        HydraConfig.instance().set_config(config)
        with open_dict(config):
            del config["hydra"]
        try:
            yield config
        finally:
            HydraConfig.instance().cfg = None


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["experiment=demo"],
        ["experiment=paper_nerthus", "strategy=separate"],
        ["optimizer=sgd", "optimizer.lr=0.3", "seed=4"],
        ["optimizer@head.optimizer=sgd", "head.optimizer.lr=0.5"],
        ["optimizer=sgd", "+head.optimizer.weight_decay=0.01"],
        ["dataset=folder", "dataset.root='my images/größe=1'", "image_size=96"],
        ["model=timm", "model.name=mobilenetv2_100", "model.weights=w.safetensors"],
        ["split=kfold", "split.fold=2", "split.groups=none"],
        ["delimiting_layer=12", "finetune.epochs=3", "head.patience=null"],
    ],
)
def test_a_trials_overrides_stand_for_all_its_settings_whatever_they_came_from(overrides):
    with running_job(*overrides) as config:
        trial = compose_trial(trial_overrides(config))
    for key in set(trial) - NOT_OF_A_TRIAL:
        assert (
            OmegaConf.to_container(trial[key], resolve=True)
            == OmegaConf.to_container(config[key], resolve=True)
            if OmegaConf.is_config(trial[key])
            else trial[key] == config[key]
        ), key


def test_the_usual_settings_need_no_values():
    with running_job() as config:
        assert trial_overrides(config) == [
            "dataset=phantom",
            "split=holdout",
            "augment=none",
            "model=densenet121",
            "optimizer=adam",
        ]


@pytest.mark.parametrize(
    ("overrides", "folder"),
    [
        ([], "runs/phantom/shared"),
        (["name=mine", "strategy=separate"], "runs/phantom/separate-mine"),
        (["split=random"], "runs/phantom/shared"),
        (["split=kfold"], "runs/phantom/shared-fold0"),
        (["split=kfold", "split.fold=3", "name=mine"], "runs/phantom/shared-mine-fold3"),
        (["split=kfold", "split.fold=third"], "runs/phantom/shared"),
        (["split=official"], "runs/phantom/shared"),
        (["split=official", "split.fold=1"], "runs/phantom/shared-fold1"),
    ],
)
def test_every_fold_has_a_run_folder_of_its_own(overrides, folder):
    register_resolvers()
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        config = compose("optimize", overrides=overrides, return_hydra_config=True)
    assert config.hydra.run.dir == folder
    assert f"{config.hydra.sweep.dir}/{config.hydra.sweep.subdir}" == folder


def test_groups_of_a_further_folder_are_found(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine.yaml").touch()
    assert "mine" in group_options("model", [f"file://{tmp_path}"])
    assert "mine" not in group_options("model")


def test_where_images_are_fetched_from_is_no_setting_of_a_trial():
    with running_job("dataset=nerthus", "dataset.url=http://127.0.0.1/a.zip") as config:
        assert not any("dataset.url" in text for text in trial_overrides(config))
    with running_job("dataset=nerthus", "dataset.download=false", "dataset.root=d") as config:
        overrides = trial_overrides(config)
    assert "dataset.root=d" in overrides
    assert not any("download" in text for text in overrides)
