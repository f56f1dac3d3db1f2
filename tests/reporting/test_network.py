import pytest
from omegaconf import OmegaConf

from tl_hpo.models.layers import Layer, layers_of
from tl_hpo.reporting.figures import delimiting_layer
from tl_hpo.reporting.network import MOST_BLOCKS, Network, blocks_of, network_of
from tl_hpo.reporting.records import read_run


def layers(*names):
    """Return layers; a name in brackets is of an operation without a module."""
    return [
        Layer(index, name.strip("()"), "", name, () if name[0] == "(" else (name,), (), 0, ())
        for index, name in enumerate(names)
    ]


def test_an_operation_without_a_module_belongs_to_the_block_before_it():
    found = blocks_of(layers("stem", "block.0.conv", "(add)", "block.1.conv", "(add_1)", "head"))
    assert [(block.name, block.first, block.last) for block in found] == [
        ("stem", 0, 0),
        ("block.0.conv", 1, 2),
        ("block.1.conv", 3, 4),
        ("head", 5, 5),
    ]


def test_names_are_cut_until_there_are_few_blocks():
    many = layers(*(f"stage{n // 40}.{n}.conv" for n in range(120)))
    assert [block.name for block in blocks_of(many)] == ["stage0", "stage1", "stage2"]


@pytest.mark.parametrize("model", ["resnet50", "densenet121", "mobilenetv2_100"])
def test_blocks_hold_every_layer_once(model):
    traced = layers_of(model, (64, 64))
    blocks = blocks_of(traced)
    assert 1 < len(blocks) <= MOST_BLOCKS
    held = [index for block in blocks for index in range(block.first, block.last + 1)]
    assert held == list(range(len(traced)))


def test_trials_of_the_best_model_are_on_it(fake_run):
    run = read_run(fake_run(images=False, n_trials=8))
    network = network_of(run)
    best = max((t for t in run.trials if t.state == "COMPLETE"), key=lambda t: t.val_accuracy)
    assert network.best == best
    assert {trial.model for trial in network.trials} == {best.model}
    assert network.blocks == []


def test_the_layers_are_those_of_the_best_model_where_it_is_there(fake_run):
    folder = fake_run(images=False)
    told = {"input": {"height": 64, "width": 64}, "trial": {"model": {"name": "densenet121"}}}
    OmegaConf.save(told, folder / "best_model" / "config.yaml")
    traced = layers_of("densenet121", (64, 64))
    rows = (folder / "trials.csv").read_text().replace(",427,", f",{len(traced)},")
    (folder / "trials.csv").write_text(rows)
    network = network_of(read_run(folder))
    assert network.layers == traced
    assert "features.denseblock1" in {block.name for block in network.blocks}


@pytest.mark.parametrize("text", ["", "trial: {}", "input: {height: 64, width: 64}", "{"])
def test_what_cannot_be_traced_has_numbers_alone(fake_run, text):
    folder = fake_run(images=False)
    (folder / "best_model" / "config.yaml").write_text(text)
    assert network_of(read_run(folder)).layers == ()


def test_without_a_delimiting_layer_there_is_no_network(fake_run):
    folder = fake_run(images=False)
    lines = (folder / "trials.csv").read_text().replace(",427,", ",,")
    (folder / "trials.csv").write_text(lines)
    assert network_of(read_run(folder)) is None


def test_small_blocks_beside_others_have_no_name():
    blocks = blocks_of(layers("stem", "bn", *("body.conv",) * 98))
    network = Network("a", 100, (), None, (), blocks)
    assert [block.name for block in network.named_blocks()] == ["stem", "body.conv"]


@pytest.mark.usefixtures("coarse")
def test_it_is_drawn_with_and_without_names(fake_run, tmp_path):
    network = network_of(read_run(fake_run(images=False)))
    delimiting_layer.draw(network, tmp_path / "a.png", "title")
    assert (tmp_path / "a.png").is_file()
    assert (tmp_path / "a.svg").is_file()
