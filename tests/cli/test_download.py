"""A published dataset that is absent, as a user's command meets it."""

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

MODEL = ("model=timm", "model.name=test_resnet")


@pytest.fixture
def archive() -> bytes:
    """A Nerthus of 40 tiny frames."""
    generator, buffer = np.random.default_rng(0), io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as opened:
        for number in range(40):
            pixels, image = generator.integers(0, 256, (32, 32, 3), dtype=np.uint8), io.BytesIO()
            Image.fromarray(pixels).save(image, "png")
            name = f"{number % 4}/bowel_{number}_score_{number % 4}-1_00000001.jpg"
            opened.writestr(f"nerthus-dataset-frames/{name}", image.getvalue())
    return buffer.getvalue()


@pytest.fixture
def nerthus(tiny):
    """Arguments of train.py on a Nerthus from ``url``."""

    def arguments(url: str) -> list[str]:
        settings = [text for text in tiny if "search" not in text]
        where = ["dataset=nerthus", "dataset.root=data/nerthus", f"dataset.url={url}"]
        return [*where, *MODEL, *settings]

    return arguments


def test_an_absent_dataset_is_fetched_and_trained_on(command, server, archive, nerthus):
    server.files["nerthus.zip"] = archive
    outcome = command("train", *nerthus(server.url("nerthus.zip")))
    assert outcome.code == 0, outcome.err
    assert "for research and educational purposes only" in outcome.out + outcome.err
    (result,) = Path("runs/nerthus/train").glob("*/result.json")
    assert json.loads(result.read_text())["state"] == "COMPLETE"
    assert len(list(Path("data/nerthus").rglob("*.jpg"))) == 40
    assert len(server.asked) == 1


def test_a_search_goes_on_whatever_its_images_were_fetched_from(
    command, server, archive, nerthus, tiny
):
    server.files["nerthus.zip"] = archive
    few = ["search.n_trials=1", "search.layer_trials=1", "pruner=none"]
    url = server.url("nerthus.zip")
    outcome = command("optimize", *nerthus(url), *few)
    assert outcome.code == 0, outcome.err
    outcome = command("optimize", *nerthus("http://other/nerthus.zip"), *few)
    assert outcome.code == 0, outcome.err
    assert len(server.asked) == 1


@pytest.mark.parametrize("script", ["train", "optimize"])
def test_nobody_listening(command, nerthus, unused_url, script, quick_retries):
    url = unused_url("nerthus.zip")
    outcome = command(script, *nerthus(url))
    assert outcome.code == 2
    (line,) = [line for line in outcome.err.splitlines() if line.startswith("error: ")]
    assert "Traceback" not in outcome.err + outcome.out
    for word in (url, "https://datasets.simula.no/nerthus/", "data/nerthus.zip"):
        assert word in line


def test_a_download_that_is_forbidden(command, nerthus, server):
    outcome = command("train", *nerthus(server.url("nerthus.zip")), "dataset.download=false")
    assert outcome.code == 2
    assert "leave out dataset.download=false" in outcome.err
    assert not server.asked
