"""A model's folder that somebody else wrote."""

import json
import stat

import pytest
import torch
from malicious import save_code
from safetensors.torch import load_file

from tl_hpo.errors import UserError
from tl_hpo.tensors import save_tensors
from tl_hpo.training.saved import load_model


@pytest.fixture
def folder(trial, tmp_path):
    trial("head.epochs=1", "finetune.epochs=0")
    return tmp_path / "trial" / "model"


def describe(folder, old, new):
    """Change a line of config.yaml."""
    text = (folder / "config.yaml").read_text()
    assert old in text
    (folder / "config.yaml").write_text(text.replace(old, new))


def refusal(folder):
    with pytest.raises(UserError) as error:
        load_model(folder)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("mode", [0o755, 0o700, 0o770])
def test_others_may_read_the_weights_as_they_may_read_the_folder(tmp_path, mode):
    tmp_path.chmod(mode)
    save_tensors({"a": torch.arange(3)}, tmp_path / "w.safetensors")
    assert stat.S_IMODE((tmp_path / "w.safetensors").stat().st_mode) == mode & 0o666
    assert load_file(tmp_path / "w.safetensors")["a"].tolist() == [0, 1, 2]


def test_code_in_the_place_of_weights_is_not_executed(folder, tmp_path):
    save_code(folder / "model.safetensors", tmp_path / "executed")
    assert "must be as it was written" in refusal(folder)
    assert not (tmp_path / "executed").exists()


def test_what_the_configuration_says_is_not_executed(folder, tmp_path):
    target = f"_target_: os.system\n    command: touch {tmp_path / 'executed'}\n    name: "
    describe(folder, "    name: test_resnet", f"    {target}test_resnet")
    load_model(folder)
    call = f'!!python/object/apply:os.system ["touch {tmp_path / "executed"}"]'
    describe(folder, "input:", f"call: {call}\ninput:")
    assert "ConstructorError" in refusal(folder)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("name", ["${oc.env:SECRET}", "${oc.decode:'${oc.env:SECRET}'}"])
def test_what_the_configuration_says_of_the_environment_stays_text(folder, monkeypatch, name):
    monkeypatch.setenv("SECRET", "only-mine")
    describe(folder, "name: test_resnet", f"name: {json.dumps(name)}")
    assert "only-mine" not in refusal(folder)


@pytest.mark.parametrize("name", ["hf-hub:evil/model", "local-dir:."])
def test_a_model_that_timm_would_fetch_is_refused(folder, name):
    describe(folder, "name: test_resnet", f"name: {name}")
    assert "model.name must be a known name" in refusal(folder)
