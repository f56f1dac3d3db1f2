"""Tiny networks for the tests of models."""

from collections.abc import Callable

import pytest
import torch

from tl_hpo.models.backbone import create, feature_count
from tl_hpo.models.layers import layers_of
from tl_hpo.models.transfer import Normalise, TransferModel, classification_block


@pytest.fixture
def transfer_model() -> Callable[..., TransferModel]:
    """Make a small real network with random weights and ``classes`` classes."""

    def make(name: str = "test_resnet", classes: int = 3, size: int = 64) -> TransferModel:
        torch.manual_seed(0)
        square = (size, size)
        head = classification_block(feature_count(name, square), classes)
        normalise = Normalise((0.5,) * 3, (0.5,) * 3)
        return TransferModel(create(name, square), layers_of(name, square), head, normalise)

    return make
