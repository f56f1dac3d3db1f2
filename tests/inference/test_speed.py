import json
import shutil

import pytest
import torch

from tl_hpo.inference import speed
from tl_hpo.inference.predictor import machine
from tl_hpo.inference.speed import measure, record_speed


@pytest.fixture
def folder(trained_run, tmp_path):
    return shutil.copytree(trained_run / "model", tmp_path / "model")


def test_speed_is_measured_once_and_kept(folder):
    record_speed(folder, "cpu", "32", 4)
    first = json.loads((folder / "speed.json").read_text())
    assert list(first) == ["device", "precision", "batch_size", "images_per_second", "latency_ms"]
    assert (first["batch_size"], first["precision"]) == (4, "32-true")
    assert first["images_per_second"] > 0
    assert first["latency_ms"] > 0
    record_speed(folder, "cpu", "32", 8)
    assert json.loads((folder / "speed.json").read_text()) == first


def test_a_failure_to_measure_is_a_warning(folder, caplog):
    (folder / "model.safetensors").unlink()
    record_speed(folder, "cpu", "32", 4)
    assert "The speed of the model was not measured" in caplog.text
    assert not (folder / "speed.json").exists()


class Clock:
    """A model that takes a known time: a second for an image."""

    def __init__(self):
        self.now, self.batches = 0.0, []

    def perf_counter(self):
        return self.now

    def __call__(self, images):
        self.now += self.per_image * len(images)
        self.batches.append(len(images))


@pytest.mark.parametrize(("per_image", "calls"), [(2.0, [8, 1]), (0.001, [8] * 11 + [1] * 11)])
def test_a_slow_model_is_run_once_and_a_fast_one_a_few_times(monkeypatch, per_image, calls):
    clock = Clock()
    clock.per_image = per_image
    monkeypatch.setattr(speed, "time", clock)
    found = measure(clock, (4, 4), machine("cpu", "32"), 8)
    assert clock.batches == calls
    assert found.images_per_second == pytest.approx(1 / per_image)
    assert found.latency_ms == pytest.approx(1000 * per_image)
    assert found.device.endswith(f"{torch.get_num_threads()} threads")
