"""A step in pieces is the step at once, but for what BatchNorm sees."""

import pytest
import torch

from tl_hpo.errors import UserError

WITHOUT_BATCHNORM = "model.name=test_convnext"
CLOSE = 1e-4


def losses(records):
    return [(r.train_loss, r.val_loss) for r in records]


@pytest.mark.parametrize("imbalance", ["none", "class_weights"])
def test_half_the_batch_twice_trains_as_the_whole_does(trial, imbalance, tmp_path):
    # 22 images: the last step has 6 of 8, and 3 pieces of 5 come to the end of the side
    whole = [WITHOUT_BATCHNORM, f"imbalance={imbalance}", "optimizer=sgd", "reuse=false"]
    _, once = trial(*whole)
    for pieces in (["batch_size=4", "accumulate=2"], ["batch_size=2", "accumulate=4"]):
        _, twice = trial(*whole, *pieces)
        for one, other in zip(losses(once), losses(twice), strict=True):
            assert other == pytest.approx(one, rel=CLOSE)


def test_the_weights_that_training_starts_from_are_the_same(prepared):
    once, twice = prepared(), prepared("batch_size=4", "accumulate=2")
    for one, other in zip(once.model.parameters(), twice.model.parameters(), strict=True):
        assert torch.equal(one, other)
    for one, other in zip(once.model.buffers(), twice.model.buffers(), strict=True):
        assert torch.equal(one, other)


def test_a_block_trained_at_once_serves_one_that_would_be_trained_in_pieces(trial):
    trial("head.epochs=2")
    result, _ = trial("batch_size=4", "accumulate=2")
    assert result.phases["head"].reused


def test_frozen_batchnorm_makes_no_difference_either(trial):
    _, once = trial("delimiting_layer=1.0", "reuse=false")
    _, twice = trial("delimiting_layer=1.0", "reuse=false", "batch_size=4", "accumulate=2")
    for one, other in zip(losses(once), losses(twice), strict=True):
        assert other == pytest.approx(one, rel=CLOSE)


@pytest.mark.parametrize("value", ["0", "1.5", "true", "many"])
def test_what_is_no_number_of_batches_is_refused(trial, value):
    with pytest.raises(UserError, match="accumulate must be an integer of at least 1"):
        trial(f"accumulate={value}")
