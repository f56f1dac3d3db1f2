import errno
import os

import pytest
import torch

from tl_hpo.models.freezing import Phase
from tl_hpo.models.reuse.disk import DiskRoom
from tl_hpo.models.reuse.frozen import FrozenWork
from tl_hpo.models.reuse.passes import FrozenPass
from tl_hpo.models.reuse.rooms import MemoryRoom

CPU = torch.device("cpu")
IMAGES = 40
GB = 1 << 30


def memory(budget=GB):
    """Return a room that is read for nothing, so that it serves every layer that it has space for.

    What is planned then hangs on no measurement.
    """
    room = MemoryRoom(CPU, 0)
    room.budget, room.rate = budget, 1e30
    return room


def files(folder, budget=GB, rate=1e30):
    room = DiskRoom(folder, budget)
    room._rate = rate
    return room


def frozen_work(*, vary_layer=False, **rooms):
    return FrozenWork(rooms or {"memory": memory()}, vary_layer=vary_layer, progress=False)


def features(source, model, rows=slice(None), bf16=False):
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        return source.features(model)(*(values[rows].clone() for values in source.inputs))


@pytest.fixture
def uncut(request_of):
    """Return the features of all images by the network as a whole."""

    @torch.no_grad()
    def run(model, bf16=False):
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            return model.features(request_of(model, 0).images)

    return run


@pytest.fixture
def model(transfer_model):
    """Make the network of a trial on the same frozen weights as every other one, untrained."""
    return lambda name="test_resnet": transfer_model(name, size=32).eval()


@pytest.fixture
def passes(monkeypatch):
    """Record the batches that go through frozen layers."""
    run, seen = FrozenPass.run, []

    def recorded(self, start, values, takes):
        seen.append(len(values[0]))
        return run(self, start, values, takes)

    monkeypatch.setattr(FrozenPass, "run", recorded)
    return seen


def warnings(caplog):
    return [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]


@pytest.mark.parametrize("name", ["test_resnet", "densenet121", "mobilenetv2_100"])
@pytest.mark.parametrize("fraction", [0.0, 0.3, 0.7, 1.0])
def test_features_from_what_is_kept_are_those_of_the_images(
    model, request_of, uncut, name, fraction
):
    trained = model(name)
    layer = round(fraction * len(trained.layers))
    head, finetune = frozen_work().sources(request_of(trained, layer, name=name))
    assert (head.cut, finetune.cut) == (len(trained.layers), layer)
    with torch.no_grad():
        for source in (head, finetune):
            torch.testing.assert_close(features(source, trained), uncut(trained))


@pytest.mark.parametrize("layer", [0, 12, 30])
def test_features_in_training_are_those_of_the_whole_network(model, request_of, layer):
    one, other, batch = model(), model(), slice(8, 16)
    request = request_of(one, layer)
    _, source = frozen_work().sources(request)
    for network in (one, other):
        network.freeze(Phase.FINETUNE, layer)
        network.train()
    cut, whole = features(source, one, batch), other.features(request.images[batch])
    torch.testing.assert_close(cut, whole)
    for values in (cut, whole):
        values.square().sum().backward()
    for network in (one, other):
        torch.optim.SGD(network.trainable().values(), lr=0.1).step()
    for key, value in other.state_dict().items():
        torch.testing.assert_close(one.state_dict()[key], value)


def test_one_pass_over_the_images_serves_both_phases(model, request_of, passes):
    frozen = frozen_work()
    frozen.sources(request_of(model(), 12))
    assert frozen.images_passed == IMAGES
    assert passes[-2:] == [32, 8]


def test_one_pass_serves_trials_with_other_delimiting_layers(model, request_of, uncut):
    room = memory()
    frozen = frozen_work(vary_layer=True, memory=room)
    frozen.sources(request_of(model(), 12))
    kept = room.cuts("work")
    assert len(kept) > 2
    for layer in range(min(kept), len(model().layers) + 1, 5):
        network = model()
        head, finetune = frozen.sources(request_of(network, layer))
        assert 0 < finetune.cut <= layer
        with torch.no_grad():
            torch.testing.assert_close(features(finetune, network), uncut(network))
            torch.testing.assert_close(features(head, network), uncut(network))
    assert frozen.images_passed == IMAGES


def test_where_the_layer_does_not_vary_only_what_is_needed_is_kept(model, request_of):
    room = memory()
    frozen_work(memory=room).sources(request_of(model(), 12))
    assert sorted(room.cuts("work")) == [12, len(model().layers)]


@pytest.mark.parametrize(("phase", "cut"), [("head_epochs", 12), ("finetune_epochs", None)])
def test_a_phase_that_is_left_out_has_nothing_kept(model, request_of, phase, cut):
    room = memory()
    frozen_work(memory=room).sources(request_of(model(), 12, **{phase: 0}))
    assert room.cuts("work") == [cut or len(model().layers)]


def test_a_second_request_for_the_same_work_runs_nothing(model, request_of, passes):
    frozen = frozen_work()
    frozen.sources(request_of(model(), 12))
    passes.clear()
    _, finetune = frozen.sources(request_of(model(), 12))
    assert finetune.cut == 12
    assert passes == []


def test_another_work_sees_nothing_of_it(model, request_of):
    room = memory()
    frozen = frozen_work(memory=room)
    frozen.sources(request_of(model(), 12))
    frozen.sources(request_of(model(), 20, work="other"))
    assert frozen.images_passed == 2 * IMAGES
    assert 20 not in room.cuts("work")
    assert 12 not in room.cuts("other")


def test_without_room_the_images_are_the_source_and_it_is_said_once(model, request_of, caplog):
    frozen = FrozenWork({"memory": memory(0)}, progress=False)
    request = request_of(model(), 30)
    for source in (*frozen.sources(request), *frozen.sources(request)):
        assert source.cut == 0
        assert torch.equal(source.inputs[0], request.images)
    (warning,) = warnings(caplog)
    assert "reuse.memory_gb" in warning
    assert frozen.images_passed == 0


def test_little_room_still_keeps_the_pooled_features(model, request_of, caplog):
    network = model()
    room = memory(IMAGES * network.head.in_features * 4)
    head, finetune = frozen_work(memory=room).sources(request_of(network, 3))
    assert (head.cut, finetune.cut) == (len(network.layers), 0)
    assert room.free() == 0
    assert len(warnings(caplog)) == 1


@pytest.mark.parametrize("budget", [10_000, 100_000, 1_000_000])
def test_many_trials_stay_within_the_budgets(model, request_of, tmp_path, budget):
    rooms = {"memory": memory(budget), "files": files(tmp_path, budget)}
    frozen = frozen_work(vary_layer=True, **rooms)
    for layer in (12, 3, 33, 20, 0, 41):
        for source in frozen.sources(request_of(model(), min(layer, len(model().layers)))):
            assert source.cut <= len(model().layers)
        assert min(room.free() for room in rooms.values()) >= 0


def test_what_is_on_disk_serves_a_later_process(model, request_of, tmp_path, uncut):
    frozen_work(files=files(tmp_path)).sources(request_of(model(), 12))
    later, network = frozen_work(files=files(tmp_path)), model()
    _, finetune = later.sources(request_of(network, 12))
    assert later.images_passed == 0
    with torch.no_grad():
        torch.testing.assert_close(features(finetune, network), uncut(network))


def test_damage_on_disk_is_made_again(model, request_of, tmp_path, caplog, uncut):
    frozen_work(files=files(tmp_path)).sources(request_of(model(), 12))
    os.truncate(tmp_path / "work-12" / "0.bin", 10)
    network = model()
    _, finetune = frozen_work(files=files(tmp_path)).sources(request_of(network, 12))
    assert finetune.cut == 12
    assert len(warnings(caplog)) == 1
    with torch.no_grad():
        torch.testing.assert_close(features(finetune, network), uncut(network))


@pytest.fixture
def full_disk(monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)


@pytest.mark.usefixtures("full_disk")
def test_after_a_failure_of_the_disk_later_trials_use_memory_and_it_is_said_once(
    model, request_of, tmp_path, caplog
):
    room = memory()
    room.rate = 1e20  # slower than the disk
    frozen = frozen_work(memory=room, files=files(tmp_path))
    network = model()
    for layer in (12, 20):
        for source in frozen.sources(request_of(network, layer)):
            assert features(source, network).shape == (IMAGES, network.head.in_features)
    assert 20 in room.cuts("work")
    assert sum("No space left" in each for each in warnings(caplog)) == 1


@pytest.mark.usefixtures("full_disk")
def test_after_a_failure_of_the_disk_the_same_trial_uses_memory(
    model, request_of, tmp_path, caplog
):
    room = memory()
    room.rate = 1e20
    frozen = frozen_work(memory=room, files=files(tmp_path))
    assert frozen.sources(request_of(model(), 12))[1].cut == 12
    assert len(warnings(caplog)) == 1


def test_a_network_that_its_cuts_do_not_agree_with_is_left_whole_and_each_is_said_once(
    transfer_network, request_of, caplog
):
    network, frozen = transfer_network("WholeBatch").eval(), frozen_work()
    for _ in range(2):
        request = request_of(network, 3)
        _, finetune = frozen.sources(request)
        assert finetune.cut == 0
        assert torch.equal(finetune.inputs[0], request.images)
    assert len(warnings(caplog)) == 2
    for layer in (3, 4):
        assert f"the same features when it is cut at layer {layer}" in caplog.text


def test_a_network_that_cannot_be_cut_starts_from_the_images(network, transfer_model, request_of):
    model = transfer_model("test_resnet", size=32)
    model.backbone = network("TwoResults")
    model.layers = model.layers[:4]
    assert [source.cut for source in frozen_work().sources(request_of(model, 3))] == [0, 0]


@pytest.mark.parametrize("name", ["Skip", "InPlace", "Dense", "Branches", "SecondArgument"])
def test_hand_written_networks_are_reused_at_every_layer(transfer_network, request_of, uncut, name):
    network = transfer_network(name).eval()
    for layer in range(1, len(network.layers) + 1):
        _, finetune = frozen_work().sources(request_of(network, layer))
        assert finetune.cut == layer
        with torch.no_grad():
            torch.testing.assert_close(features(finetune, network), uncut(network))


def test_a_computed_weight_is_not_kept(transfer_network, request_of):
    network = transfer_network("StandardisedWeight").eval()
    assert frozen_work().sources(request_of(network, 1))[1].cut == 0


@pytest.mark.parametrize("name", ["FunctionalDropout", "ModuleDropout"])
def test_in_training_a_cut_network_drops_values_as_the_whole_one_does(
    transfer_network, request_of, name
):
    network = transfer_network(name).eval()
    request = request_of(network, 1)
    _, finetune = frozen_work().sources(request)
    network.freeze(Phase.FINETUNE, 1)
    network.train()
    torch.manual_seed(1)
    whole = network.features(request.images)
    torch.manual_seed(1)
    torch.testing.assert_close(features(finetune, network), whole)


@pytest.mark.parametrize("name", ["test_resnet", "mobilenetv2_100"])
@pytest.mark.parametrize("fraction", [0.3, 1.0])
def test_bfloat16_features_equal_those_of_the_whole_network_to_its_rounding(
    model, request_of, uncut, name, fraction
):
    network = model(name)
    layer = round(fraction * len(network.layers))
    request = request_of(network, layer, name=name, bf16=True)
    _, finetune = frozen_work().sources(request)
    assert finetune.cut == layer
    with torch.no_grad():
        found, whole = features(finetune, network, bf16=True), uncut(network, bf16=True)
    assert (found.float() - whole.float()).abs().max() <= 2**-6 * whole.float().abs().max()


def test_modes_and_trainable_parameters_are_left_as_they_were(model, request_of):
    network = model()
    network.freeze(Phase.FINETUNE, 20)
    network.train()
    modes = [module.training for module in network.modules()]
    trainable, weights = set(network.trainable()), network.state_dict()
    before = {key: value.clone() for key, value in weights.items()}
    frozen_work().sources(request_of(network, 12))
    assert [module.training for module in network.modules()] == modes
    assert set(network.trainable()) == trainable
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
