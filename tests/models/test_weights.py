import hashlib
import http.server
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from malicious import save_code
from safetensors.torch import save_file

from tl_hpo.errors import UserError
from tl_hpo.models.backbone import create, pretrained_config
from tl_hpo.models.weights import build_backbone, calibrate, load_weights

NAME = "test_resnet"


def same_weights(one, two):
    a, b = one.state_dict(), two.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


@pytest.fixture(scope="module")
def original():
    return create(NAME)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize("classifier", ["none", "of a thousand classes"])
def test_a_file_loads_whatever_its_classifier(tmp_path, original, suffix, classifier):
    state = dict(original.state_dict())
    if classifier != "none":
        state |= {"fc.weight": torch.ones(1000, 8), "fc.bias": torch.ones(1000)}
    path = tmp_path / f"weights{suffix}"
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    assert same_weights(build_backbone(NAME, str(path), (64, 64)), original)


def test_a_checkpoint_of_a_training_loop_loads(tmp_path, original):
    wrapped = {f"module.{key}": value for key, value in original.state_dict().items()}
    torch.save({"epoch": 3, "state_dict": wrapped}, tmp_path / "checkpoint.pth")
    loaded = create(NAME)
    load_weights(loaded, NAME, tmp_path / "checkpoint.pth")
    assert same_weights(loaded, original)


def test_another_architecture_is_refused_and_the_keys_that_differ_are_named(tmp_path, original):
    save_file(dict(original.state_dict()), tmp_path / "resnet.safetensors")
    with pytest.raises(UserError, match=r"'vgg16'.*26 keys missing \(features\.0\.weight"):
        build_backbone("vgg16", str(tmp_path / "resnet.safetensors"), (64, 64))


def test_a_missing_or_damaged_file_is_refused(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        build_backbone(NAME, str(tmp_path / "absent.safetensors"), (64, 64))
    for name in ("damaged.safetensors", "damaged.pth"):
        (tmp_path / name).write_bytes(b"these are no tensors")
        with pytest.raises(UserError, match="readable file of tensors"):
            build_backbone(NAME, str(tmp_path / name), (64, 64))


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".bin", ".safetensors"])
@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_file_is_not_executed(tmp_path, suffix, zipped):
    path = tmp_path / f"evil{suffix}"
    save_code(path, tmp_path / "executed", zipped=zipped)
    with pytest.raises(UserError, match="readable file of tensors") as error:
        build_backbone(NAME, str(path), (64, 64))
    assert "\n" not in str(error.value)
    assert not (tmp_path / "executed").exists()


def test_calibration_gives_batchnorm_the_statistics_of_its_input():
    torch.manual_seed(0)
    backbone = create(NAME)
    batches = [torch.randn(8, 3, 64, 64) * 3 + 1 for _ in range(3)]
    calibrate(backbone, batches)
    norm, conv = backbone.bn1, backbone.conv1
    with torch.no_grad():
        seen = conv(torch.cat(batches))
    assert torch.allclose(norm.running_mean, seen.mean(dim=(0, 2, 3)), atol=1e-4)
    assert torch.allclose(norm.running_var, seen.var(dim=(0, 2, 3)), rtol=1e-2)
    assert norm.momentum == 0.1
    assert backbone.training


class Hub(http.server.BaseHTTPRequestHandler):
    """Answers like the hub of the weights: a file of one repository, with its checksum."""

    content = b""
    repository = ""
    filename = ""

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def answer(self, body):
        found = self.path.split("?")[0] == f"/{self.repository}/resolve/main/{self.filename}"
        self.send_response(200 if found else 404)
        self.send_header("Content-Length", str(len(self.content) if found else 0))
        if not found:
            self.send_header("X-Error-Code", "EntryNotFound")
        if found:
            self.send_header("ETag", f'"{hashlib.sha256(self.content).hexdigest()}"')
            self.send_header("X-Repo-Commit", "0" * 40)
        self.end_headers()
        if body and found:
            self.wfile.write(self.content)

    def log_message(self, *_):
        pass


FETCH = f"""
import sys
from safetensors.torch import save_file
from tl_hpo.cli.entry import user_errors
from tl_hpo.models.weights import build_backbone
with user_errors():
    backbone = build_backbone({NAME!r}, "imagenet", (64, 64))
    save_file(dict(backbone.state_dict()), sys.argv[1])
"""


def fetch(home: Path, endpoint: str, output: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"HF_ENDPOINT": endpoint, "HF_HOME": str(home), "NO_PROXY": "*"}
    return subprocess.run(
        [sys.executable, "-c", FETCH, str(output)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@contextmanager
def hub(path: Path, filename: str) -> Iterator[str]:
    """Serve a file under such a name of the model's repository; yield the address."""
    Hub.content, Hub.filename = path.read_bytes(), filename
    Hub.repository = pretrained_config(NAME)["hf_hub_id"]
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.slow
@pytest.mark.parametrize("filename", ["pytorch_model.bin", "model.safetensors"])
def test_code_that_the_hub_serves_is_executed_neither_then_nor_from_the_disk(tmp_path, filename):
    save_code(tmp_path / "served", tmp_path / "executed")
    with hub(tmp_path / "served", filename) as endpoint:
        first = fetch(tmp_path / "home", endpoint, tmp_path / "never.safetensors")
    second = fetch(tmp_path / "home", endpoint, tmp_path / "never.safetensors")
    for done in (first, second):
        assert done.returncode == 2, done.stderr
        assert done.stderr.strip().splitlines()[-1].startswith("error: model.weights=imagenet must")
        assert "Traceback" not in done.stderr
    assert "remove it to fetch it again" in second.stderr
    assert not (tmp_path / "executed").exists()


@pytest.mark.slow
def test_imagenet_weights_come_from_the_hub_and_afterwards_from_the_disk(tmp_path, original):
    state = dict(original.state_dict()) | {"fc.weight": torch.ones(1000, original.num_features)}
    save_file(state | {"fc.bias": torch.ones(1000)}, tmp_path / "served.safetensors")
    with hub(tmp_path / "served.safetensors", "model.safetensors") as endpoint:
        first = fetch(tmp_path / "home", endpoint, tmp_path / "first.safetensors")
    assert first.returncode == 0, first.stderr
    second = fetch(tmp_path / "home", endpoint, tmp_path / "second.safetensors")
    assert second.returncode == 0, second.stderr
    for name in ("first", "second"):
        loaded = create(NAME)
        load_weights(loaded, NAME, tmp_path / f"{name}.safetensors")
        assert same_weights(loaded, original)


@pytest.mark.slow
def test_no_network_is_the_users_to_mend_and_told_in_one_line(tmp_path):
    nobody_listens = "http://127.0.0.1:9"
    done = fetch(tmp_path / "home", nobody_listens, tmp_path / "never.safetensors")
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert "model.weights=FILE.safetensors" in line
    assert nobody_listens in line
