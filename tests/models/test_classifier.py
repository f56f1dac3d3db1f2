import math

import pytest
import torch

from tl_hpo.models.classifier import MeanLoss


def test_a_mean_loss_counts_every_image_alike():
    mean = MeanLoss()
    mean.update(torch.tensor(1.0), 8)
    mean.update(torch.tensor(4.0), torch.tensor(4))
    assert mean.compute().item() == pytest.approx(2)


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_is_not_lost(loss):
    mean = MeanLoss()
    mean.update(torch.tensor(1.0), 8)
    mean.update(torch.tensor(loss), 2)
    assert not mean.compute().isfinite()
