"""What is done about classes of unequal size."""

import torch
from torch import Tensor

NONE, CLASS_WEIGHTS, BALANCED_SAMPLING = "none", "class_weights", "balanced_sampling"
IMBALANCE = (NONE, CLASS_WEIGHTS, BALANCED_SAMPLING)


def class_weights(labels: Tensor, n_classes: int) -> Tensor:
    """Return what the loss of each class is multiplied with: n / (classes * its images).

    The mean over the images is 1, as with scikit-learn's ``balanced``. A class without images has
    weight 0, and the others are weighted as if it did not exist.

    Args:
        labels: class indices of the training side, int64 [n].
        n_classes: at least 1.

    Returns:
        float32 [n_classes].

    """
    counts = torch.bincount(labels, minlength=n_classes).double()
    occurring = counts > 0
    weights = len(labels) / (occurring.sum() * counts.clamp(min=1))
    return torch.where(occurring, weights, 0.0).float()
