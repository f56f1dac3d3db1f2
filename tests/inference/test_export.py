import errno
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tl_hpo.data.images import decode
from tl_hpo.data.views import View
from tl_hpo.errors import UserError
from tl_hpo.inference import export as module
from tl_hpo.inference.export import FILES, check_export, export
from tl_hpo.inference.predictor import Predictor, load


@pytest.fixture
def model(trained_run):
    return load(trained_run)


def images_of(run, count):
    paths = sorted((run.parent / "images").rglob("*.png"))[:count]
    return np.stack([decode(path, (64, 64)) for path in paths]).transpose(0, 3, 1, 2)


def onnx_by_hand(path, images):
    import onnxruntime

    return onnxruntime.InferenceSession(path).run(None, {"images": images})[0]


def torchscript_by_hand(path, images):
    return torch.jit.load(path)(torch.from_numpy(images)).detach().numpy()


@pytest.mark.parametrize(
    ("kind", "run"), [("onnx", onnx_by_hand), ("torchscript", torchscript_by_hand)]
)
def test_what_is_exported_predicts_as_the_model_in_batches_of_any_size(
    model, trained_run, tmp_path, kind, run
):
    checked = export(model, kind, tmp_path / "exported")
    assert (checked.images, checked.random) == (9, False)
    assert checked.difference < 1e-5
    for count in (1, 5):
        images = np.ascontiguousarray(images_of(trained_run, count))
        with torch.no_grad():
            expected = model.predictor(torch.from_numpy(images)).numpy()
        found = run(tmp_path / "exported", images)
        assert found == pytest.approx(expected, abs=1e-5)
        assert found.sum(axis=1) == pytest.approx(1, abs=1e-5)


def test_the_mean_over_views_is_exported(model, tmp_path):
    views = (View(), View(flip="horizontal"), View(turn=90), View(brightness=0.8, saturation=1.2))
    for kind, chosen in (("torchscript", views), ("onnx", views[:1] + views[2:3])):
        predictor = Predictor(model.predictor.model, chosen, 2.0).eval()
        of_views = replace(model, predictor=predictor)
        assert export(of_views, kind, tmp_path / kind).difference < 1e-5


def test_without_the_experiments_images_it_is_checked_on_random_ones(trained_run, tmp_path):
    moved = Path(shutil.copytree(trained_run / "model", tmp_path / "moved"))
    (moved / "predictions.csv").unlink()
    checked = export(load(moved), "torchscript", tmp_path / "e")
    assert (checked.images, checked.random) == (16, True)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("experiment.json", b"no JSON"),
        ("experiment.json", b"[1]"),
        ("experiment.json", b'{"dataset_root": 1}'),
        ("experiment.json", b'{"title": "\xe6"}'),
        ("moved/predictions.csv", b"id,class\n1,polyp\n"),
        ("moved/predictions.csv", b"side,path\nvalidation\n"),
        ("moved/predictions.csv", b"path,side\n\0,validation\n" + b"a" * 300 + b",validation"),
        ("moved/predictions.csv", b"\xff\xfe"),
        ("moved/predictions.csv", b"side,path\n" + b"a" * 200_000),
    ],
)  # fmt: skip
def test_files_that_are_damaged_or_of_others_tell_of_no_images(
    trained_run, tmp_path, monkeypatch, name, content
):
    def write(predictor, size, path):  # quicker than a real export
        path.write_bytes(b"a")
        return lambda images: predictor(torch.from_numpy(images)).detach().numpy()

    monkeypatch.setitem(module._WRITERS, "torchscript", write)
    shutil.copytree(trained_run / "model", tmp_path / "moved")
    (tmp_path / name).write_bytes(content)
    checked = export(load(tmp_path / "moved"), "torchscript", tmp_path / "e")
    assert (checked.images, checked.random) == (16, True)


def test_an_export_that_predicts_something_else_is_not_kept(model, tmp_path, monkeypatch):
    def write(predictor, size, path):
        path.write_bytes(b"a")
        return lambda images: np.full((len(images), 3), 1 / 3, np.float32)

    monkeypatch.setitem(module._WRITERS, "onnx", write)
    with pytest.raises(UserError, match="must predict as the model does"):
        export(model, "onnx", tmp_path / "e")
    monkeypatch.setitem(
        module._WRITERS, "onnx", lambda *_: lambda images: np.full((len(images), 3), np.nan)
    )
    with pytest.raises(UserError, match="got a difference of nan"):
        export(model, "onnx", tmp_path / "e")
    assert not list(tmp_path.iterdir())


def test_what_an_exporter_raises_is_a_line(model, tmp_path, monkeypatch):
    def write(predictor, size, path):
        raise RuntimeError("no operator\nmany lines")

    monkeypatch.setitem(module._WRITERS, "torchscript", write)
    with pytest.raises(UserError, match=r"got RuntimeError: no operator; try export=onnx\.$"):
        export(model, "torchscript", tmp_path / "e")


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        RuntimeError("[enforce fail] No space left on device"),
        MemoryError(),
    ],
)
def test_a_full_disk_or_memory_is_not_the_models_fault(model, tmp_path, monkeypatch, error):
    def write(predictor, size, path):
        raise error

    monkeypatch.setitem(module._WRITERS, "torchscript", write)
    with pytest.raises(type(error)) as raised:
        export(model, "torchscript", tmp_path / "e")
    assert raised.value is error


def test_packages_that_are_missing_are_told_with_their_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(UserError, match=r"pip install 'tl_hpo\[onnx\]'"):
        check_export("onnx")
    check_export("torchscript")
    with pytest.raises(UserError, match="export must be a known name"):
        check_export("tflite")
    assert set(FILES) == {"onnx", "torchscript"}
