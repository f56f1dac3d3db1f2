import pytest
import torch

from tl_hpo.models.freezing import Phase

MODELS = ("test_resnet", "densenet121", "inception_v3", "mobilenetv2_100", "test_convnext")


def changed(model, before):
    after = model.backbone.state_dict()
    return {name for name, value in before.items() if not torch.equal(value, after[name])}


def train_a_little(model, phase, delimiting_layer, size):
    model.freeze(phase, delimiting_layer)
    model.train()
    optimizer = torch.optim.SGD(model.trainable().values(), lr=0.1)
    for _ in range(2):
        images = torch.randint(0, 256, (4, 3, size, size), dtype=torch.uint8)
        torch.nn.functional.cross_entropy(model(images), torch.tensor([0, 1, 2, 0])).backward()
        optimizer.step()
        optimizer.zero_grad()


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("fraction", [0.0, 0.4, 0.7, 1.0])
def test_fine_tuning_changes_nothing_before_the_delimiting_layer(transfer_model, name, fraction):
    size = 96 if name == "inception_v3" else 64
    model = transfer_model(name, size=size)
    d = round(fraction * len(model.layers))
    before = {k: v.clone() for k, v in model.backbone.state_dict().items()}
    train_a_little(model, Phase.FINETUNE, d, size)
    frozen = {path for layer in model.layers[:d] for path in layer.parameters}
    trained = {path for layer in model.layers[d:] for path in layer.parameters}
    moved = changed(model, before)
    assert not moved & frozen
    assert trained <= moved
    buffers = {path for path, _ in model.backbone.named_buffers()}
    frozen_modules = {path for layer in model.layers[:d] for path in layer.modules}
    assert not {path for path in moved & buffers if path.rpartition(".")[0] in frozen_modules}


@pytest.mark.parametrize("name", MODELS)
def test_the_head_phase_changes_the_classification_block_alone(transfer_model, name):
    size = 96 if name == "inception_v3" else 64
    model = transfer_model(name, size=size)
    before = {k: v.clone() for k, v in model.backbone.state_dict().items()}
    head = model.head.weight.detach().clone()
    train_a_little(model, Phase.HEAD, 0, size)
    assert not changed(model, before)
    assert not torch.equal(head, model.head.weight)


def test_fine_tuning_trains_the_buffers_of_batchnorm_behind_the_delimiting_layer(transfer_model):
    model = transfer_model("test_resnet")
    before = {k: v.clone() for k, v in model.backbone.state_dict().items()}
    train_a_little(model, Phase.FINETUNE, 0, 64)
    assert {k for k in before if k.endswith("running_mean")} <= changed(model, before)


def test_frozen_modules_stay_in_evaluation_mode_whatever_mode_is_asked(transfer_model):
    model = transfer_model("densenet121")
    d = len(model.layers) // 2
    model.freeze(Phase.FINETUNE, d)
    model.train()
    modes = {path: module.training for path, module in model.backbone.named_modules()}
    assert not any(modes[path] for layer in model.layers[:d] for path in layer.modules)
    assert all(modes[path] for layer in model.layers[d:] for path in layer.modules)


def test_freezing_follows_from_phase_and_layer_alone_not_from_what_was_frozen_before(
    transfer_model,
):
    model = transfer_model()
    model.freeze(Phase.HEAD, 5)
    model.freeze(Phase.FINETUNE, 0)
    assert set(model.trainable()) == {name for name, _ in model.named_parameters()}
