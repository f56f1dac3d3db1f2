"""What stays warm between the trials of one process: images, backbones, frozen work, blocks."""

import copy
import hashlib
import json
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor, nn

from tl_hpo.config import OF_FETCHING
from tl_hpo.data.fingerprints import Fingerprints, FingerprintStore
from tl_hpo.data.module import ImageData, channels_first
from tl_hpo.data.near_duplicates import near_duplicate_groups
from tl_hpo.data.sources import load_table
from tl_hpo.data.split import Split, SplitTable, make_split
from tl_hpo.data.split_summary import SplitSummary, describe_split
from tl_hpo.data.store import DecodedStore
from tl_hpo.data.table import ImageTable
from tl_hpo.data.views import make_views
from tl_hpo.errors import UserError, some_of
from tl_hpo.models.reuse.disk import DiskRoom
from tl_hpo.models.reuse.frozen import FrozenWork
from tl_hpo.models.reuse.rooms import MemoryRoom
from tl_hpo.models.reuse.source import Samples
from tl_hpo.training.devices import device_of, host_memory
from tl_hpo.training.group import ALONE, Group
from tl_hpo.training.heads import HeadStore
from tl_hpo.training.imbalance import BALANCED_SAMPLING

GB = 1e9
KEPT_DATA = 2  # datasets; one more than an experiment uses
KEPT_BACKBONES = 300e6  # bytes of untouched weights: three of most models
HOST_SHARE = 1 / 4  # of the memory there is, where reuse.memory_gb does not say
GPU_SHARE = 1 / 2  # of the memory that is free, where reuse.gpu_gb does not say
BUDGETS = ("memory_gb", "gpu_gb", "disk_gb")


@dataclass(frozen=True)
class TrialData:
    """The images of a trial, decoded, and their split.

    Attributes:
        table: the images; its groups are those that the split kept together.
        own_groups: the groups that the dataset itself knows, or None.
        images: uint8 [images, 3, height, width].
        checksum: of the pixels.
        summary: what the split came to.

    """

    table: ImageTable
    own_groups: tuple[str, ...] | None
    split: Split
    images: Tensor
    checksum: str
    summary: SplitSummary

    def loaders(
        self,
        inputs: tuple[Tensor, ...],
        config: DictConfig,
        positions: Tensor | None = None,
        group: Group = ALONE,
    ) -> ImageData:
        """Return batches of ``inputs`` on the sides of the split.

        They are the images, or what crosses a cut: then ``positions`` [views, images] tells where.
        Of training batches, they are the share of this process in the ``group``.
        """
        return ImageData(
            inputs,
            self.table.labels,
            self.split,
            config.batch_size,
            config.seed,
            positions=positions,
            views=make_views(config.augment),
            test_time=config.augment.test_time,
            balanced=config.imbalance == BALANCED_SAMPLING,
            accumulate=config.accumulate,
            rank=group.rank,
            ranks=group.size,
        )

    def samples(self, config: DictConfig) -> Samples:
        """Return the views of images that a trial looks at: none of the test side."""
        views = make_views(config.augment)
        train, validation = self.split.train, self.split.validation
        searched = np.sort(np.concatenate([train, validation]))
        judged_by = len(views) if config.augment.test_time else 1
        sides = [searched if view < judged_by else train for view in range(len(views))]
        numbers = np.repeat(np.arange(len(views)), [len(side) for side in sides])
        return Samples(
            torch.from_numpy(np.concatenate(sides)),
            torch.from_numpy(numbers),
            len(train) + judged_by * len(validation),
            views.gather,
        )


@dataclass(frozen=True)
class Backbone:
    """A backbone of one trial, which may change it, and what tells its weights apart."""

    module: nn.Module
    digest: str


class Worker:
    """Runs nothing itself: it holds what one trial leaves for the next.

    Args:
        config: of the machine: ``store``, ``reuse`` and ``trainer``.
        vary_layer: expect trials with other delimiting layers.

    Attributes:
        heads: trained blocks; None where reuse is off.

    """

    def __init__(self, config: DictConfig, *, vary_layer: bool = False) -> None:
        folder = Path(config.store.dir)
        self.device = device_of(config.trainer.accelerator)
        self.heads = HeadStore(folder / "heads") if reuses(config) else None
        self._config = config
        self._vary_layer = vary_layer
        self._progress = bool(config.trainer.progress)
        self._store = DecodedStore(folder)
        self._fingerprints = FingerprintStore(folder)
        self._tables: dict[str, ImageTable] = {}
        self._splits: dict[str, SplitTable] = {}
        self._data: OrderedDict[str, TrialData] = OrderedDict()
        self._backbones: OrderedDict[str, Backbone] = OrderedDict()

    @cached_property
    def frozen(self) -> FrozenWork | None:
        """Frozen layers' work; None where reuse is off. A GPU is touched when it is asked for."""
        if not reuses(self._config):
            return None
        rooms = _rooms(self._config, self.device)
        return FrozenWork(rooms, vary_layer=self._vary_layer, progress=self._progress)

    def release(self) -> None:
        """Give back the memory that makes later trials faster, but that they can do without."""
        if "frozen" in self.__dict__ and self.frozen is not None:
            self.frozen.release()

    def data(self, config: DictConfig, size: tuple[int, int]) -> TrialData:
        """Return the configured dataset at ``size`` (height, width), with its split.

        Files are listed and split once, whatever the sizes asked for: those that come or go while
        an experiment runs change nothing, and no image changes its side.

        Raises:
            UserError: other files can be read now than when they were split, and see
                `load_table`, `DecodedStore.images` and `make_split`.

        """
        settings = {k: v for k, v in _plain(config.dataset).items() if k not in OF_FETCHING}
        listed = digest_of(settings, _plain(config.split))
        key = digest_of(listed, size)
        if key not in self._data:
            self._data[key] = self._decoded(config, size, listed)
        self._data.move_to_end(key)
        while len(self._data) > KEPT_DATA:
            self._data.popitem(last=False)
        return self._data[key]

    def _decoded(self, config: DictConfig, size: tuple[int, int], listed: str) -> TrialData:
        if listed not in self._tables:
            self._tables[listed] = load_table(config.dataset)
        decoded = self._store.images(
            self._tables[listed],
            size,
            progress=self._progress,
            max_unreadable=config.dataset.max_unreadable,
        )
        if listed not in self._splits:
            self._splits[listed] = make_split(decoded.table, config.split, self._near_duplicates)
        made = self._splits[listed]
        _check_same_files(made.table, decoded.table)
        return TrialData(
            made.table,
            decoded.table.groups,
            made.split,
            channels_first(decoded.pixels),
            decoded.checksum,
            describe_split(made),
        )

    def fingerprints(self, table: ImageTable) -> Fingerprints:
        """Return what the images of ``table`` look like in a few numbers."""
        return self._fingerprints.fingerprints(table, self._progress)

    def _near_duplicates(self, table: ImageTable) -> tuple[str, ...]:
        return near_duplicate_groups(self.fingerprints(table))

    def backbone(self, key: str, build: Callable[[], nn.Module]) -> Backbone:
        """Return a copy of what ``build`` makes; under one ``key`` it is called once, or seldom."""
        if key not in self._backbones:
            module = build()
            self._backbones[key] = Backbone(module, _digest_of_weights(module))
        self._backbones.move_to_end(key)
        while len(self._backbones) > 1 and self._size() > KEPT_BACKBONES:
            self._backbones.popitem(last=False)
        kept = self._backbones[key]
        return Backbone(copy.deepcopy(kept.module), kept.digest)

    def _size(self) -> int:
        return sum(
            value.numel() * value.element_size()
            for backbone in self._backbones.values()
            for value in backbone.module.state_dict().values()
        )


def _check_same_files(split: ImageTable, decoded: ImageTable) -> None:
    """Raise UserError unless the images that were split are those that were decoded."""
    if split.paths != decoded.paths:
        changed = {*split.paths} ^ {*decoded.paths}
        raise UserError(
            f"images must stay readable while an experiment runs, got {len(changed)} that were "
            f"not before or are not now ({some_of(sorted(map(str, changed)))}); restore them and "
            "repeat the command."
        )


def reuses(config: DictConfig) -> bool:
    """Tell whether frozen work is done once (``reuse=false`` switches that off).

    Raises:
        UserError: ``reuse`` is neither, or a budget is no size.

    """
    if config.reuse is False:
        return False
    if not OmegaConf.is_dict(config.reuse):
        raise UserError(
            f"reuse must be false or a table of {', '.join(BUDGETS)}, got {config.reuse!r}; "
            "leave it out, or set reuse=false or reuse.memory_gb=4, say."
        )
    for key in BUDGETS:
        value = config.reuse[key]
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if value is not None and not (number and 0 <= value < float("inf")):
            raise UserError(f"reuse.{key} must be a number of gigabytes or null, got {value!r}.")
    return True


def _rooms(config: DictConfig, device: torch.device) -> dict[str, MemoryRoom | DiskRoom]:
    """Return where activations may be kept, the fastest first.

    Where several processes train a trial, each has a copy of them in its memory.
    """
    budgets, copies = config.reuse, config.trainer.devices
    rooms: dict[str, MemoryRoom | DiskRoom] = {}
    if device.type == "cuda":
        free = budgets.get("gpu_share", GPU_SHARE) * torch.cuda.mem_get_info(device)[0]
        rooms["GPU memory"] = MemoryRoom(device, _bytes(budgets.gpu_gb, free))
    host = _bytes(budgets.memory_gb, HOST_SHARE * host_memory()) // copies
    rooms["memory"] = MemoryRoom(torch.device("cpu"), host)
    if copies == 1:
        folder = Path(config.store.dir) / "activations"
        rooms["files"] = DiskRoom(folder, _bytes(budgets.disk_gb, 0))
    return rooms


def memory_share(budgets: Any, host: float, device: float) -> Any:
    """Return the setting ``reuse`` of a process that has these shares, in (0, 1], of the memory.

    Args:
        budgets: the setting for the whole machine; plain containers.
        host: of the machine's memory.
        device: of its GPU's.

    """
    if not isinstance(budgets, dict):
        return budgets
    own = dict(budgets)
    if own["memory_gb"] is None:
        own["memory_gb"] = HOST_SHARE * host_memory() / GB
    own["memory_gb"] *= host
    if own["gpu_gb"] is not None:
        own["gpu_gb"] *= device
    return own | {"gpu_share": GPU_SHARE * device}


def memory_of(budgets: Any, gigabytes: float | None) -> Any:
    """Return the setting ``reuse`` of a process that is given so much memory, if it is known."""
    if not isinstance(budgets, dict) or budgets["memory_gb"] is not None or gigabytes is None:
        return budgets
    return budgets | {"memory_gb": HOST_SHARE * gigabytes}


def _bytes(gigabytes: float | None, default: float) -> int:
    return int(default if gigabytes is None else gigabytes * GB)


def digest_of(*parts: Any) -> str:
    """Return a short digest of plain values."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


def work_key(config: DictConfig, backbone: Backbone, data: TrialData, precision: str) -> str:
    """Return what tells the frozen work of a trial apart: all that its results depend on."""
    return digest_of(
        config.model.name,
        backbone.digest,
        data.checksum,
        list(data.images.shape),
        data.samples(config).images.tolist(),
        _plain(config.augment),
        precision,
        device_of(config.trainer.accelerator).type,
        torch.__version__,
        timm.__version__,
    )


def head_key(config: DictConfig, work: str, data: TrialData, start: nn.Linear) -> str:
    """Return what tells a head phase apart, its first weights included."""
    settings = {k: v for k, v in _plain(config.head).items() if k != "weights"}
    return digest_of(
        work,
        settings,
        config.seed,
        config.batch_size * config.accumulate,  # in pieces or at once, it comes to the same
        config.objective,
        config.imbalance,
        _digest_of_weights(start),
        [side.tolist() for side in data.split.sides().values()],
        data.table.labels.tolist(),
    )


def _digest_of_weights(module: nn.Module) -> str:
    digest = hashlib.blake2b(digest_size=12)
    for name, value in module.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _plain(config: DictConfig) -> dict[str, Any]:
    plain = OmegaConf.to_container(config, resolve=True)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}
