"""What a user may say of the jobs, and what SLURM is asked for."""

import importlib.util

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from tl_hpo.config import CONF_DIR, register_resolvers
from tl_hpo.errors import UserError
from tl_hpo.search.executors.slurm_queue import check_commands
from tl_hpo.search.executors.slurm_settings import SlurmSettings


def settings(*overrides):
    register_resolvers()
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        config = compose("optimize", overrides=["executor=slurm", *overrides])
    said = OmegaConf.to_container(config.executor)
    del said["kind"]
    made = SlurmSettings(**said)
    made.check()
    return made


def test_what_is_not_said_is_left_to_the_cluster():
    parameters = settings("executor.gpus_per_node=0", "executor.cpus_per_task=null").parameters()
    assert parameters == {"time": 240, "mem": "16384M", "additional_parameters": {}}


def test_what_is_said_is_asked_for():
    said = settings(
        "executor.partition=gpu", "executor.account=lab", "executor.qos=long",
        "executor.timeout_min=30", "executor.mem_gb=1.5", "executor.gpus_per_node=2",
        "+executor.additional.constraint=a100", "executor.answer_seconds=3",
    )  # fmt: skip
    assert said.parameters() == {
        "partition": "gpu",
        "account": "lab",
        "qos": "long",
        "time": 30,
        "mem": "1536M",
        "cpus_per_task": 4,
        "gpus_per_node": 2,
        "additional_parameters": {"constraint": "a100"},
    }
    assert said.timing().answer == 3.0


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("workers=0", "executor.workers must be a whole number of at least 1, got 0"),
        ("workers=null", "got None"),
        ("timeout_min=1.5", "executor.timeout_min must be a whole number of at least 1, got 1.5"),
        ("max_timeouts=-1", "at least 0, got -1"),
        ("cpus_per_task=true", "got True"),
        ("gpus_per_node=a100", "executor.gpus_per_node must be a whole number"),
        ("mem_gb=0", "executor.mem_gb must be a positive number, got 0"),
        ("mem_gb=16GB", "got '16GB'"),
        ("answer_seconds=null", "executor.answer_seconds must be a positive number, got None"),
        ("additional=null", "must be a table of options of sbatch"),
        ("setup=module", "must be null or a list of shell lines"),
    ],
)
def test_what_makes_no_sense_is_told(override, told):
    with pytest.raises(UserError) as error:
        settings(f"executor.{override}")
    assert told in str(error.value)


def test_without_submitit_the_remedy_is_told(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'tl_hpo\[slurm\]'"):
        settings().submitter()


def test_without_slurm_the_remedy_is_told(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=r"got no sbatch, .* on the PATH; run it on a login node"):
        check_commands()
