"""What a search needs of whatever trains: an interface, so that search itself knows no torch."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from tl_hpo.training.result import KeepModel, Report, TrialResult


class Runner(Protocol):
    """Runs trials given as Hydra overrides of train.py."""

    def count_layers(self, overrides: Sequence[str]) -> int:
        """Return the number of layers of the model that ``overrides`` choose."""

    def settings(self, overrides: Sequence[str]) -> dict[str, Any]:
        """Return model, optimizers, learning rates and delimiting layer of a trial."""

    def halved(self, overrides: Sequence[str]) -> tuple[list[str], str] | None:
        """Return the overrides that train the same with half the images at once, and the batch.

        The batch is in words, such as ``16 twice``. None where it cannot be halved.
        """

    def run(
        self,
        overrides: Sequence[str],
        folder: Path,
        report: Report,
        keep_model: KeepModel,
    ) -> TrialResult:
        """Run one trial that writes to ``folder``.

        Raises:
            MemoryShortError: memory was not enough.

        """
