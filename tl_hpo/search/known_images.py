"""Test images that earlier experiments knew: a search that learns from those has seen them."""

import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tl_hpo.files import read_csv
from tl_hpo.search.earlier import unreadable


@dataclass(frozen=True)
class KnownImages:
    """How much of the test side earlier experiments trained or validated on.

    Attributes:
        folders: of the earlier experiments.
        test_images: on the test side.
        known_test_images: of these, those that were on another side there.
    """

    folders: Sequence[str] = ()
    test_images: int = 0
    known_test_images: int = 0

    def warning(self) -> str:
        """Return in one line what that means for the test figure, nothing where none was known."""
        if not self.known_test_images:
            return ""
        return (
            f"{self.known_test_images} of {self.test_images} test images were on the training or "
            f"validation side of an experiment of search.warm_start ({', '.join(self.folders)}): "
            "its configurations were chosen with their help, so the test figure may be too high; "
            "an experiment with split=file and that folder's split.csv keeps them apart."
        )


def known_images(folder: Path, earlier: Sequence[Path]) -> KnownImages:
    """Count the test images of a run folder that were on another side of earlier ones.

    An image is the same where its path is, or, if all pixels are, its path within the dataset.
    Run folders without split.csv tell nothing.

    Raises:
        UserError: the files of an earlier folder cannot be read.
    """
    about = _about(folder)
    test = set(_images(folder, about, {"test"}))
    known: set[Path] = set()
    for each in earlier:
        try:
            there = _about(each)
            same = there.get("pixels") is not None and there["pixels"] == about.get("pixels")
            root = about if same else there  # a copy, or one that has moved
            known |= test.intersection(_images(each, root, {"train", "validation"}))
        except (OSError, ValueError, KeyError, AttributeError) as error:
            why = f"its split.csv or experiment.json cannot be read ({error!r})"
            raise unreadable(each, why) from error
    return KnownImages([str(each) for each in earlier], len(test), len(known))


def _about(folder: Path) -> dict[str, Any]:
    path = folder / "experiment.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _images(folder: Path, about: dict[str, Any], sides: Collection[str]) -> Iterator[Path]:
    """Yield the images on some sides, as paths that do not depend on the working directory."""
    path = folder / "split.csv"
    root = Path(about.get("dataset_root") or folder).resolve()
    for row in read_csv(path) if path.is_file() else []:
        if row["side"] in sides:
            yield root / row["path"]
