"""What the tables rest on: an honest opponent, exclusive time, counted operations."""

import argparse
from itertools import count as ticks

import numpy as np
import pytest
import torch

from bench import common, flops, growth, ledger, one_experiment
from bench.children import in_child
from bench.plain import build, freeze, frozen_names, make_loaders
from tl_hpo.data.sources import load_table
from tl_hpo.data.split import make_split


def test_the_loaders_of_a_child_fork_as_those_of_a_users_script():
    # Otherwise every worker imports torch anew, and the plain loop is many times too slow.
    assert in_child("machine")["start_method"] == "fork"


@pytest.mark.parametrize(("phase", "share"), [("head", 1), ("finetune", 2 / 3)])
def test_the_plain_loop_freezes_what_the_project_freezes(config, phase, share):
    from tl_hpo.models.layers import layers_of

    network = build(config, 3)
    freeze(network, frozen_names(config, phase))
    layers = layers_of("test_resnet", (32, 32))
    before = {path for layer in layers[: round(share * len(layers))] for path in layer.parameters}
    trained = {name for name, p in network.named_parameters() if p.requires_grad}
    assert trained == {name for name, _ in network.named_parameters()} - before
    assert {"fc.weight", "fc.bias"} <= trained


def test_the_plain_loop_has_the_projects_split(config):
    table = load_table(config.dataset)
    split = make_split(table, config.split).split
    for loader, side in zip(
        make_loaders(config, table, split), (split.train, split.validation), strict=True
    ):
        images = loader.dataset
        assert [images.dataset.samples[i][0] for i in images.indices] == [
            str(table.paths[i]) for i in side
        ]


def test_the_plain_loop_learns(overrides):
    # Colours, with a network of random weights.
    [found] = in_child("plain", [[*overrides, "head.epochs=0", "finetune.epochs=15"]])
    assert found["accuracy"] > 0.9
    assert found["seconds"] > 0


def test_time_is_charged_to_the_innermost_call_alone(monkeypatch):
    clock = ticks()
    monkeypatch.setattr(ledger.time, "perf_counter", lambda: float(next(clock)))
    book = ledger.Ledger("rest")  # 0
    with book.charging("outer"), book.charging("inner"):  # 1, 2
        pass  # 3, 4
    assert book.spent() == {"rest": 2, "outer": 2, "inner": 1}  # 5


def test_a_watched_function_is_put_back(monkeypatch):
    class Owner:
        def method(self):
            return 7

    original = Owner.method
    book = ledger.Ledger("rest")
    with book.watching(Owner, "method", "label"):
        assert Owner().method() == 7
    assert Owner.method is original
    assert book.spent()["label"] >= 0


@pytest.mark.parametrize("groups", [1, 8])
@pytest.mark.parametrize(("needs_input_gradient", "times"), [(True, 3), (False, 2)])
def test_operations_of_a_convolution_and_its_gradients(groups, needs_input_gradient, times):
    layer = torch.nn.Conv2d(8, 8, 3, padding=1, groups=groups, bias=False)
    images = torch.zeros(2, 8, 5, 5, requires_grad=needs_input_gradient)
    one_way = 2 * 2 * 25 * 8 * (8 // groups) * 9
    assert flops.count(lambda: layer(images)) == one_way
    assert flops.count(lambda: layer(images).sum().backward()) == times * one_way


def test_links_multiply_the_images_of_every_class(images, tmp_path):
    assert growth.replicate(images, tmp_path / "more", 2) == 72
    names = [path.relative_to(tmp_path / "more") for path in (tmp_path / "more").glob("*/*")]
    assert len(names) == len(set(names)) == 72
    assert {str(name.parent) for name in names} == {"class-0", "class-1", "class-2"}


def test_a_sample_of_the_trials_is_scaled_within_its_step_and_model(monkeypatch):
    costs = {"small": 1.0, "large": 10.0}

    def run(job, listed):
        assert job == "plain"
        return [{"seconds": costs[each[0][2:]], "accuracy": 0.5} for each in listed]

    monkeypatch.setattr(one_experiment, "in_child", run)
    epochs = {"head": 2, "finetune": 1}
    models = ["small"] * 5 + ["large"] * 3
    trials = [
        {"step": "s", "model": model, "overrides": [f"m={model}"], "epochs": epochs,
         "delimiting_layer": number}
        for number, model in enumerate(models)
    ]  # fmt: skip
    options = argparse.Namespace(plain_every=2, accelerator="cpu")
    assert one_experiment._plain(trials, options) == {"seconds": 35, "accuracy": 0.5, "ran": 5}


def test_the_plain_loop_trains_as_long_as_a_trial_of_the_search_did():
    trial = {"overrides": ["head.epochs=9", "model=timm"], "epochs": {"head": 2, "finetune": 1}}
    assert one_experiment._same(trial, "cpu") == [
        "head.epochs=2", "model=timm", "finetune.epochs=1", "trainer.accelerator=cpu",
    ]  # fmt: skip


def test_a_table_of_medians():
    rows = [{"model": "a", "s": value} for value in (1.0, 9.0, 1234.5)]
    assert common.medians(rows) == {"model": "a", "s": np.median([1.0, 9.0, 1234.5])}
    assert common.table([rows[2]]).splitlines() == [
        "| model | s |",
        "| --- | --- |",
        "| a | 1,234 |",
    ]


def test_a_model_with_its_weights(tmp_path):
    assert common.Model.parse("vgg16") == common.Model("vgg16", "random")
    assert common.Model.parse("vgg16=imagenet").weights == "imagenet"
    (tmp_path / "w.pth").touch()
    assert common.Model.parse(f"vgg16={tmp_path}/w.pth").weights == f"{tmp_path}/w.pth"
    with pytest.raises(argparse.ArgumentTypeError, match="no file of weights"):
        common.Model.parse("vgg16=absent.pth")
