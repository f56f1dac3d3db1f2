import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_class_weight
from torch.nn import functional as F

from tl_hpo.errors import UserError
from tl_hpo.training import phases
from tl_hpo.training.imbalance import class_weights

labels_of = st.lists(st.integers(0, 4), min_size=1, max_size=60)


@given(labels_of)
def test_class_weights_are_those_of_scikit_learn(listed):
    labels = np.array(listed)
    occurring = np.unique(labels)
    expected = np.zeros(5)
    expected[occurring] = compute_class_weight("balanced", classes=occurring, y=labels)
    np.testing.assert_allclose(class_weights(torch.tensor(listed), 5), expected, rtol=1e-6)


def test_the_weights_reach_the_loss_of_training_and_not_that_of_validation(prepared, monkeypatch):
    trial = prepared("imbalance=class_weights", "finetune.epochs=0")
    seen = []
    cross_entropy = F.cross_entropy

    def spy(logits, labels, weight=None):
        seen.append(weight)
        return cross_entropy(logits, labels, weight=weight)

    monkeypatch.setattr(F, "cross_entropy", spy)
    weights = class_weights(torch.from_numpy(trial.data.table.labels[trial.data.split.train]), 3)
    data = trial.data.loaders((trial.data.images,), trial.config)
    phases.run_phase(
        phases.Phase.HEAD,
        trial.model,
        trial.model.features,
        data,
        trial.config,
        objective=lambda summary: summary["accuracy"],
        report=lambda record: False,
        delimiting_layer=0,
    )
    assert seen
    assert all(torch.equal(weight, weights) for weight in seen)


@pytest.mark.parametrize("imbalance", ["class_weights", "balanced_sampling"])
def test_what_is_rare_counts_as_much_as_what_is_frequent(prepared, image_folder, imbalance):
    """Where all images look alike, training ends with the share that each class counts for."""
    root = image_folder(classes=2, per_class=24, root="uneven")
    for path in (root / "class-1").glob("?.png"):  # 10 of 24
        path.unlink()
    settings = [f"dataset.root={root}", "split=random", "split.validation=0.5", "optimizer=sgd"]
    settings += ["optimizer.lr=0.3", "head.epochs=60", "head.patience=null"]

    def answer(*overrides: str) -> float:
        trial = prepared(*settings, *overrides)
        head, later = trial.model.head, itertools.count()
        phases.run_phase(
            phases.Phase.HEAD,
            trial.model,
            lambda images: torch.zeros(len(images), head.in_features),
            trial.data.loaders((trial.data.images,), trial.config),
            trial.config,
            objective=lambda summary: next(later),  # the last epoch is the best
            report=lambda record: False,
            delimiting_layer=0,
        )
        return head.bias.detach().softmax(dim=0)[1].item()

    assert answer() == pytest.approx(7 / 19, abs=0.08)
    assert answer(f"imbalance={imbalance}") == pytest.approx(0.5, abs=0.08)


def test_an_unknown_remedy_is_refused(trial):
    with pytest.raises(UserError, match="imbalance must be a known name, got 'weights'"):
        trial("imbalance=weights")
