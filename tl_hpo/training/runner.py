"""Runs trials given as Hydra overrides, in this process; it stays warm between them."""

import copy
import traceback
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf

from tl_hpo.config import MACHINE, OF_FETCHING, compose_trial
from tl_hpo.disk import trouble
from tl_hpo.errors import UserError
from tl_hpo.memory import MemoryShortError, in_words, is_short
from tl_hpo.overrides import merged, override
from tl_hpo.training.batches import half_batch, times_in_words
from tl_hpo.training.checks import count_layers
from tl_hpo.training.devices import release_memory
from tl_hpo.training.hyperparameters import hyperparameters
from tl_hpo.training.judgement import (
    TEST,
    VALIDATION,
    is_tested,
    read_predictions,
    write_judgement,
)
from tl_hpo.training.result import METRICS_FILE, KeepModel, Report, TrialResult
from tl_hpo.training.saved import load_model
from tl_hpo.training.trial import input_size, judge_images, run_trial
from tl_hpo.training.worker import TrialData, Worker, memory_share


class LocalRunner:
    """Runs one trial after another on this machine's device.

    Args:
        search_path: further config folders that the overrides may refer to.
        config: holds the settings of the machine, which are not part of a trial.
        vary_layer: whether the trials differ in their delimiting layers.
    """

    def __init__(
        self, search_path: Sequence[str], config: DictConfig, *, vary_layer: bool = False
    ) -> None:
        self.search_path = list(search_path)
        self.vary_layer = vary_layer
        resolved = cast(dict[str, Any], OmegaConf.to_container(config, resolve=True))
        self._machine = {key: resolved[key] for key in MACHINE}
        of_dataset = resolved.get("dataset", {})
        self._fetching = {key: of_dataset[key] for key in OF_FETCHING if key in of_dataset}
        # A trial is composed thrice in a row: to count layers, to describe it, to run it.
        self._composed: tuple[tuple[str, ...], DictConfig] | None = None

    @property
    def arguments(self) -> dict[str, Any]:
        """What `make_runner` makes the same runner of; plain containers."""
        return {
            "search_path": self.search_path,
            "config": copy.deepcopy(self._machine | {"dataset": self._fetching}),
            "vary_layer": self.vary_layer,
        }

    @cached_property
    def worker(self) -> Worker:
        """What stays warm between the trials."""
        return Worker(OmegaConf.create(self._machine), vary_layer=self.vary_layer)

    def data(self, config: DictConfig) -> TrialData:
        """Return the images and the split of a trial."""
        return self.worker.data(config, input_size(config))

    def compose(self, overrides: Sequence[str]) -> DictConfig:
        """Return the configuration of a trial, for this machine."""
        key = tuple(overrides)
        if self._composed is None or self._composed[0] != key:
            self._composed = key, self._compose(overrides)
        return copy.deepcopy(self._composed[1])

    def _compose(self, overrides: Sequence[str]) -> DictConfig:
        config = compose_trial(overrides, self.search_path)
        for key, value in self._machine.items():
            config[key] = value
        for key, value in self._fetching.items():
            config.dataset[key] = value
        return config

    def count_layers(self, overrides: Sequence[str]) -> int:
        """Return the number of layers of the model that ``overrides`` choose."""
        return count_layers(self.compose(overrides))

    def settings(self, overrides: Sequence[str]) -> dict[str, Any]:
        """Return the columns of trials.csv that describe a trial, before it runs."""
        config = self.compose(overrides)
        return hyperparameters(config) | {"model": _model_name(overrides, config)}

    def run(
        self,
        overrides: Sequence[str],
        folder: Path,
        report: Report,
        keep_model: KeepModel,
    ) -> TrialResult:
        """Run one trial that writes to ``folder``; its memory is gone afterwards.

        Raises:
            MemoryShortError: memory was not enough; all that can be given back has been.
            UserError: the configuration cannot work, or the disk does not take the results.

        """
        try:
            return run_trial(
                self.compose(overrides),
                folder,
                report=report,
                keep_model=keep_model,
                worker=self.worker,
            )
        except Exception as error:
            told = trouble(error)
            if told is not None:
                raise told from error
            if not is_short(error):
                raise
            short = MemoryShortError(in_words(error), traceback.format_exc())
        finally:
            release_memory()
        # Out here the error is gone, and with it the frames that hold on to its tensors.
        self.worker.release()
        release_memory()
        raise short

    def halved(self, overrides: Sequence[str]) -> tuple[list[str], str] | None:
        """Return the overrides that train the same with half the images at once, and the batch.

        None where the batch cannot be halved.
        """
        config = self.compose(overrides)
        half = half_batch(config)
        if half is None:
            return None
        changed = [override(key, value) for key, value in half.items()]
        return merged(overrides, changed), times_in_words(half)

    def test(self, overrides: Sequence[str], folder: Path) -> None:
        """Measure the model in ``folder``, trained with ``overrides``, on the test side.

        That is done once, and nothing is done where there is no test side.

        Raises:
            UserError: the model is gone.

        """
        if not (folder / METRICS_FILE).is_file():
            raise UserError(
                f"the best model must stay in {folder}, got none there; restore it, or remove the "
                "run folder and repeat the command."
            )
        config = self.compose(overrides)
        data = self.data(config)
        if len(data.split.test) and not is_tested(folder):
            model, _ = load_model(folder)
            predictions = {
                VALIDATION: read_predictions(folder, data.table, data.split, VALIDATION),
                TEST: judge_images(model.to(self.worker.device), data, config, TEST),
            }
            write_judgement(folder, data.table, data.split, predictions)
            release_memory()


def make_runner(
    search_path: list[str],
    config: dict[str, Any],
    vary_layer: bool,
    host_share: float = 1.0,
    device_share: float = 1.0,
) -> LocalRunner:
    """Return the runner of `LocalRunner.arguments`, in another process.

    Args:
        search_path, config, vary_layer: see `LocalRunner`.
        host_share, device_share: of the memory of the machine and of its device that this process
            runs on; see `memory_share`.

    """
    own = config | {"reuse": memory_share(config["reuse"], host_share, device_share)}
    return LocalRunner(search_path, OmegaConf.create(own), vary_layer=vary_layer)


def _model_name(overrides: Sequence[str], config: DictConfig) -> str:
    """Return the name that the user knows the model by: the config's, or timm's."""
    chosen = {text.removeprefix("model=") for text in overrides if text.startswith("model=")}
    return next(iter(chosen - {"timm"}), config.model.name)
