"""With and without the reuse of frozen layers a trial comes to the same."""

from collections.abc import Callable

import pytest
import torch
from omegaconf import DictConfig
from safetensors.torch import load_file

from tl_hpo.files import read_csv
from tl_hpo.models.layers import layers_of
from tl_hpo.training.saved import load_model
from tl_hpo.training.trial import prepare, run_trial
from tl_hpo.training.worker import Worker

# Small inputs that the network takes; a layer inside a branch, or before a skip connection ends.
MODELS = {
    "test_resnet": (32, "layer2.0.conv2"),
    "test_efficientnet": (32, "blocks.1.0.conv_pwl"),
    "densenet121": (32, "features.denseblock3.denselayer5.conv1"),
    "inception_v3": (75, "Mixed_6b.branch7x7_2.conv"),
    "mobilenetv2_100": (32, "blocks.3.1.conv_dw"),
    "legacy_xception": (71, "block5.rep.4.conv1"),
}
QUICK = ("test_resnet", "test_efficientnet")


def delimiting_layers(name: str, size: int) -> list[int]:
    layers = layers_of(name, (size, size))
    inside = next(each.index for each in layers if each.name == MODELS[name][1])
    return [0, inside, len(layers) // 3, 2 * len(layers) // 3, len(layers)]


def scale(key: str, weights: dict[str, torch.Tensor]) -> torch.Tensor:
    """Return what a difference is relative to.

    The mean of values that are centred already is nothing but rounding: what counts is how far it
    moves them beside their own size.
    """
    squares = weights[key].double().square()
    if key.endswith("running_mean"):
        squares += weights[key.replace("running_mean", "running_var")].double()
    return squares.sum().sqrt()


@pytest.fixture
def both(
    trial_config: Callable[..., DictConfig], tmp_path
) -> Callable[..., list[tuple[list, dict[str, torch.Tensor]]]]:
    """Run a trial with reuse and without; return epochs and weights of each."""

    def run(*overrides: str, precision: str = "32"):
        outcomes = []
        for reuse in ([], ["reuse=false"]):
            records: list = []
            config = trial_config(*overrides, f"precision={precision}", *reuse)
            folder = tmp_path / f"trial-{len(reuse)}"
            run_trial(config, folder, report=lambda r, kept=records: kept.append(r) or False)
            outcomes.append((records, load_file(folder / "model" / "model.safetensors")))
        return outcomes

    return run


CASES = [
    pytest.param(name, place, marks=() if name in QUICK else pytest.mark.slow)
    for name in MODELS
    for place in range(5)
]


@pytest.mark.parametrize(("name", "place"), CASES)
def test_accuracies_and_weights_are_those_of_the_whole_network(both, name, place):
    size = MODELS[name][0]
    layer = delimiting_layers(name, size)[place]
    (reused, weights), (plain, expected) = both(
        f"model.name={name}",
        f"image_size={size}",
        f"delimiting_layer={layer}",
        "optimizer=sgd",
        "optimizer.lr=0.001",  # larger steps of random weights amplify rounding
        "batch_size=12",
    )
    assert [r.val_accuracy for r in reused] == [r.val_accuracy for r in plain]
    assert [r.train_loss for r in reused] == pytest.approx([r.train_loss for r in plain], rel=1e-4)
    assert weights.keys() == expected.keys()
    for key, value in expected.items():
        difference = (weights[key].double() - value.double()).norm()
        # A bias before a BatchNorm has no gradient but rounding: it stays near 0, not at 0.
        assert difference <= 1e-4 * scale(key, expected) + 1e-7, key


@pytest.mark.parametrize("layer", ["0.5", "1.0"])
@pytest.mark.parametrize("test_time", ["false", "true"])
@pytest.mark.parametrize("augment", ["flips", "views"])
def test_views_of_the_images_change_nothing_about_that(both, augment, test_time, layer):
    (reused, weights), (plain, expected) = both(
        f"augment={augment}",
        f"augment.test_time={test_time}",
        f"delimiting_layer={layer}",
        *("optimizer=sgd", "optimizer.lr=0.001", "head.epochs=9", "finetune.epochs=9"),
    )
    assert [r.val_accuracy for r in reused] == [r.val_accuracy for r in plain]
    assert [r.val_loss for r in reused] == pytest.approx([r.val_loss for r in plain], rel=1e-4)
    assert [r.train_loss for r in reused] == pytest.approx([r.train_loss for r in plain], rel=1e-4)
    for key, value in expected.items():
        difference = (weights[key].double() - value.double()).norm()
        assert difference <= 1e-4 * scale(key, expected) + 1e-7, key


def test_in_bf16_the_epochs_agree_too(both):
    (reused, _), (plain, _) = both("optimizer=sgd", precision="bf16")
    assert [r.train_loss for r in reused] == pytest.approx([r.train_loss for r in plain], rel=0.05)


def test_frozen_layers_are_not_run_in_training(trial_config, monkeypatch):
    config = trial_config("delimiting_layer=1.0")
    worker = Worker(config)
    trial = prepare(config, worker)
    stem = trial.model.backbone.conv1[0]
    calls = []
    original = type(stem).forward

    def spy(self, images):
        calls.append(self.training or torch.is_grad_enabled())
        return original(self, images)

    run_trial(config, worker=worker)
    passes = worker.frozen.images_passed
    monkeypatch.setattr(type(stem), "forward", spy)
    run_trial(config.copy(), worker=worker)
    split = trial.data.split
    assert len(split.test) > 0  # which no trial looks at
    assert worker.frozen.images_passed == passes == len(split.train) + len(split.validation)
    assert calls == []  # a second trial runs no convolution at all


def test_every_view_goes_through_frozen_layers_once(trial_config):
    config = trial_config("augment=flips", "delimiting_layer=1.0", "head.epochs=20")
    worker = Worker(config)
    trial = prepare(config, worker)
    for _ in range(2):
        run_trial(config.copy(), worker=worker)
    split = trial.data.split
    assert worker.frozen.images_passed == 4 * len(split.train) + len(split.validation)


def test_test_time_views_judge_by_the_mean_of_their_probabilities(trial_config, tmp_path):
    config = trial_config("augment=flips", "augment.test_time=true")
    run_trial(config, tmp_path / "trial")
    model, labels = load_model(tmp_path / "trial" / "model")
    data = Worker(config).data(config, (32, 32))
    images = data.images[torch.from_numpy(data.split.validation)]
    flips = [(), (3,), (2,), (2, 3)]
    with torch.no_grad():
        mean = torch.stack([model(images.flip(axes)).softmax(dim=1) for axes in flips]).mean(dim=0)
    confidence, predicted = mean.max(dim=1)
    rows = read_csv(tmp_path / "trial" / "model" / "predictions.csv")
    assert [labels[i] for i in predicted] == [row["predicted"] for row in rows]
    assert confidence.tolist() == pytest.approx([float(r["confidence"]) for r in rows], abs=1e-4)


@pytest.mark.parametrize("overrides", [["reuse.memory_gb=0", "reuse.disk_gb=0"]])
def test_without_room_every_layer_is_computed_and_it_is_said_once(trial_config, caplog, overrides):
    config = trial_config(*overrides)
    worker = Worker(config)
    results = [run_trial(config, worker=worker).val_accuracy for _ in range(2)]
    assert results[0] == results[1] == run_trial(trial_config("reuse=false")).val_accuracy
    told = [r for r in caplog.records if "computed in every epoch" in r.getMessage()]
    assert len(told) == 1
    assert "reuse.memory_gb" in told[0].getMessage()


def test_activations_on_disk_serve_another_process(trial_config):
    config = trial_config("reuse.memory_gb=0")
    first, second = Worker(config), Worker(config)
    assert run_trial(config, worker=first).epochs == run_trial(config, worker=second).epochs
    assert first.frozen.images_passed > 0
    assert second.frozen.images_passed == 0
