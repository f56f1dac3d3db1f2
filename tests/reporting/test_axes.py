from dataclasses import replace

import pytest

from tl_hpo.reporting.axes import axes_of
from tl_hpo.reporting.figures import slices
from tl_hpo.reporting.records import read_run


@pytest.fixture
def trial(fake_run):
    return replace(
        read_run(fake_run(images=False)).trials[0],
        model="a",
        head_optimizer="adam",
        finetune_optimizer="adam",
        head_lr=0.1,
        finetune_lr=0.1,
        delimiting_layer=66.0,
        n_layers=100,
    )


def names(*trials):
    return [axis.name for axis in axes_of(trials)]


def test_what_never_changes_is_no_axis(trial):
    assert names(trial, trial) == []


def test_what_both_phases_share_is_one_axis(trial):
    other = replace(trial, head_lr=0.2, finetune_lr=0.2, model="b")
    assert names(trial, other) == ["model", "learning rate"]
    assert axes_of([trial, other])[1].log


def test_phases_of_their_own_have_axes_of_their_own(trial):
    other = replace(trial, finetune_lr=0.2, head_optimizer="sgd")
    assert names(trial, other) == [
        "optimizer (classification block)",
        "learning rate (fine-tuning)",
    ]


def test_the_delimiting_layer_is_a_share_only_among_several_models(trial):
    assert names(trial, replace(trial, delimiting_layer=10.0)) == ["delimiting layer"]
    other = replace(trial, delimiting_layer=10.0, n_layers=50)
    assert names(trial, other) == ["delimiting layer (share)"]
    assert axes_of([trial, other])[0].values == [0.66, 0.2]
    assert names(trial, replace(trial, delimiting_layer=34.0, n_layers=50)) == []  # 2/3, rounded


@pytest.mark.usefixtures("coarse")
def test_they_are_drawn(trial, tmp_path):
    other = replace(trial, model="b", finetune_lr=0.001, state="PRUNED")
    slices.draw([trial, other, replace(trial, head_optimizer="")], tmp_path / "a.png", "title")
    assert (tmp_path / "a.png").is_file()


def test_what_is_searched_beyond_the_usual_axes_has_axes_of_its_own(trial):
    trials = [
        replace(trial, further={"batch_size": "8", "imbalance": "none", "finetune.decay": "0.001"}),
        replace(trial, further={"batch_size": "32", "imbalance": "none", "finetune.decay": "0.1"}),
        replace(trial, further={"batch_size": "32"}),
    ]
    assert names(*trials) == ["batch_size", "finetune.decay"]  # `imbalance` never changes
    size, decay = axes_of(trials)
    assert (size.values, size.log) == ([8.0, 32.0, 32.0], False)
    assert (decay.values, decay.log) == ([0.001, 0.1, None], True)


def test_a_further_axis_of_names_and_numbers_is_one_of_names(trial):
    cells = ("1", "auto", "nan")
    (axis,) = axes_of([replace(trial, further={"mixed": cell}) for cell in cells])
    assert axis.values == list(cells)
    assert axis.is_category
