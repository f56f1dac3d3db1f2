import math

import pytest
import torch

from tl_hpo.errors import UserError
from tl_hpo.models.freezing import Phase
from tl_hpo.training.phases import make_optimizer, run_phase
from tl_hpo.training.trial import objective_of


def run(phase, prepared, layer, report=lambda record: False):
    return run_phase(
        phase,
        prepared.model,
        prepared.model.features,
        prepared.data.loaders((prepared.data.images,), prepared.config),
        prepared.config,
        objective=objective_of("val_accuracy"),
        report=report,
        delimiting_layer=layer,
    )


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet"])
@pytest.mark.parametrize(("phase", "share"), [("head", 0.5), ("finetune", 0.5), ("finetune", 1.0)])
def test_frozen_parameters_and_buffers_are_bit_equal_after_a_lightning_fit(
    prepared, name, phase, share
):
    trial = prepared(f"model.name={name}")
    model = trial.model
    layer = round(share * len(model.layers))
    frozen = model.layers if phase == "head" else model.layers[:layer]
    owners = {path for each in frozen for path in each.modules}
    names = {key for key in model.backbone.state_dict() if key.rpartition(".")[0] in owners}
    before = {key: model.backbone.state_dict()[key].clone() for key in names}
    run(Phase(phase), trial, layer)
    after = model.backbone.state_dict()
    assert names
    assert all(torch.equal(before[key], after[key]) for key in names)


def test_the_trainable_set_is_the_optimizers_set_in_both_phases(prepared, monkeypatch):
    trial = prepared()
    model = trial.model
    seen = []
    original = torch.optim.Adam.__init__

    def spy(self, params, **arguments):
        original(self, params, **arguments)
        seen.append({id(p) for group in self.param_groups for p in group["params"]})

    monkeypatch.setattr(torch.optim.Adam, "__init__", spy)
    for phase in Phase:
        run(phase, trial, 10)
        assert seen[-1] == {id(p) for p in model.parameters() if p.requires_grad}
    owned = [path for layer in model.layers[10:] for path in layer.parameters]
    assert len(seen[-1]) == len(owned) + 2  # and the block's weight and bias


def test_the_model_is_left_with_the_weights_of_the_best_epoch(prepared):
    trial = prepared("head.epochs=6", "head.optimizer.lr=0.5", "head.patience=null")
    model = trial.model
    weights = []
    outcome = run(
        Phase.HEAD, trial, 0,
        report=lambda record: weights.append(model.head.weight.detach().clone()) or False,
    )  # fmt: skip
    best = max(outcome.records, key=lambda record: record.objective)
    assert torch.equal(model.head.weight, weights[best.epoch - 1])
    predicted = trial.judge("validation").predicted
    assert torch.equal(predicted, outcome.predictions.predicted)


def test_a_cosine_schedule_follows_its_formula(prepared, monkeypatch):
    trial = prepared("head.epochs=4", "head.scheduler=cosine", "optimizer=sgd")
    rates = []
    step = torch.optim.SGD.step

    def spy(self, *arguments, **keywords):
        rates.append(self.param_groups[0]["lr"])
        return step(self, *arguments, **keywords)

    monkeypatch.setattr(torch.optim.SGD, "step", spy)
    run(Phase.HEAD, trial, 0)
    per_epoch = rates[:: len(rates) // 4]
    assert per_epoch == pytest.approx(
        [0.01 * (1 + math.cos(math.pi * epoch / 4)) / 2 for epoch in range(4)]
    )


def test_bf16_trains_on_the_cpu_too(prepared):
    trial = prepared("precision=bf16")
    model = trial.model
    outcome = run(Phase.FINETUNE, trial, 0)
    assert outcome.summary.epochs == 2
    assert all(parameter.dtype == torch.float32 for parameter in model.parameters())


def test_an_optimizer_that_does_not_take_a_setting_says_which(trial_config):
    settings = trial_config("optimizer=sgd", "+head.optimizer.betas=[0.9,0.999]").head.optimizer
    with pytest.raises(UserError, match=r"torch\.optim\.SGD takes.*betas"):
        make_optimizer("head", settings)


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["head.optimizer._target_=os.system", "+head.optimizer.command='touch executed'"],
         "non-class"),
        (["head.optimizer._target_=pathlib.Path"], "no torch.optim.Optimizer"),
        (["+head.optimizer.more={_target_:io.open,file:executed,mode:w}"], "more"),
        (["head.optimizer.lr={_target_:io.open,file:executed,mode:w}"], ""),
    ],
)  # fmt: skip
def test_what_an_optimizer_is_said_to_be_is_not_called(
    trial_config, tmp_path, monkeypatch, overrides, told
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"head\.optimizer must be settings that") as error:
        make_optimizer("head", trial_config(*overrides).head.optimizer)
    assert told in str(error.value)
    assert not (tmp_path / "executed").exists()
