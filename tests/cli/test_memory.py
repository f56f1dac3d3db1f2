"""What train.py says where memory is not enough."""

import pytest
import torch

from tl_hpo.cli import train


@pytest.mark.parametrize(
    ("batch", "remedy"),
    [(8, "set batch_size=4 accumulate=2, which takes the same steps."), (9, "set image_size=")],
)
def test_train_tells_what_to_try(command, image_folder, tiny, monkeypatch, batch, remedy):
    def run_trial(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    monkeypatch.setattr(train, "run_trial", run_trial)
    settings = [text for text in tiny if "search." not in text]
    data = ["dataset=folder", f"dataset.root={image_folder()}"]
    model = ["model=timm", "model.name=test_resnet", f"batch_size={batch}"]
    outcome = command("train", *data, *settings, *model)
    assert outcome.code == 2
    assert f"memory must hold a batch of {batch} images in training" in outcome.err
    assert "Tried to allocate 2.00 GiB" in outcome.err
    assert remedy in outcome.err
    assert "Traceback" not in outcome.err
