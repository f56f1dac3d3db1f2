"""What tests of several packages share."""

import sys
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))

import slurm_cluster
import trained
from one_at_a_time import holding
from servers import Served, serving, unused_url

REPOSITORY = Path(__file__).resolve().parent.parent
SHARED = REPOSITORY.parent / "shared"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("gpu") and not torch.cuda.is_available():
            item.add_marker(pytest.mark.skip(reason="no CUDA device here"))
        if item.get_closest_marker("shared") and not SHARED.is_dir():
            item.add_marker(pytest.mark.skip(reason="the real images and weights are not here"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Let what was printed be sent from process to process: names of files may be no UTF-8."""
    report = yield
    report.sections = [
        (title, text.encode("utf-8", "backslashreplace").decode())
        for title, text in report.sections
    ]
    return report


@pytest.fixture(autouse=True)
def _two_threads() -> None:
    torch.set_num_threads(2)


@pytest.fixture
def shared_root() -> Path:
    return SHARED


@pytest.fixture
def image_folder(tmp_path: Path) -> Callable[..., Path]:
    """Make a folder of tiny images, one folder per class, told apart by colour."""

    def make(classes: int = 2, per_class: int = 10, size: int = 32, root: str = "images") -> Path:
        generator = np.random.default_rng(0)
        for index in range(classes):
            folder = tmp_path / root / f"class-{index}"
            folder.mkdir(parents=True)
            for number in range(per_class):
                pixels = generator.integers(0, 120, (size, size, 3), dtype=np.uint8)
                pixels[..., index % 3] += 120
                Image.fromarray(pixels).save(folder / f"{number}.png")
        return tmp_path / root

    return make


@pytest.fixture
def server() -> Iterator[Served]:
    """A server on this machine, for what is fetched."""
    with serving() as served:
        yield served


@pytest.fixture(name="unused_url")
def _unused_url() -> Callable[[str], str]:
    return unused_url


@pytest.fixture
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again without waiting."""
    monkeypatch.setattr("tl_hpo.data.transfer.BACKOFF", 0)


@pytest.fixture(scope="session")
def trained_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a small trained model; its images are in ``images`` beside it."""
    return trained.train(tmp_path_factory.mktemp("trained"))


@pytest.fixture(scope="module")
def slurm() -> Iterator[None]:
    """A SLURM cluster of one node, this machine, whose commands find it."""
    reason = slurm_cluster.why_not()
    if reason:
        pytest.skip(reason)
    with (
        holding("slurm"),
        pytest.MonkeyPatch.context() as patch,
        slurm_cluster.cluster() as environment,
    ):
        for name, value in environment.items():
            patch.setenv(name, value)
        yield
