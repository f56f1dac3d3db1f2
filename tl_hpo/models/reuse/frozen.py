"""The frozen work of an experiment: done once, kept where there is room, handed to its trials."""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace

import torch
from torch import Tensor
from tqdm import tqdm

from tl_hpo.memory import is_short
from tl_hpo.models.reuse.cuts import Cut, CutGraph, Suffix, suffix_of
from tl_hpo.models.reuse.disk import DiskRoom
from tl_hpo.models.reuse.passes import FrozenPass, Profile, Take, TensorSpec
from tl_hpo.models.reuse.planner import Costs, Unlimited, choose, costs_of, spread
from tl_hpo.models.reuse.rooms import Key, MemoryRoom
from tl_hpo.models.reuse.source import Request, Source, from_images
from tl_hpo.models.tracing import trace
from tl_hpo.models.transfer import TransferModel

logger = logging.getLogger(__name__)

PASS_BATCH = 32
PROFILE_IMAGES = 16
# Cut and uncut features of a few images may differ by the rounding of other batch sizes.
CHECKED_IMAGES = 4
AGREEMENT = {torch.float32: 1e-3, torch.bfloat16: 0.1}

Places = Mapping[str, MemoryRoom | DiskRoom]


class FrozenWork:
    """Keeps what frozen layers make of the samples, for one trial after another.

    Args:
        rooms: where to keep it, by name.
        vary_layer: expect trials with other delimiting layers, and keep cuts for them too.
        progress: show a progress bar.

    Attributes:
        images_passed: samples that went through frozen layers from the first one on.

    """

    def __init__(self, rooms: Places, *, vary_layer: bool = False, progress: bool = True) -> None:
        self.rooms = dict(rooms)
        self.images_passed = 0
        self._vary_layer = vary_layer
        self._progress = progress
        self._graphs: dict[tuple[str, tuple[int, ...]], CutGraph] = {}
        self._profiles: dict[str, Profile] = {}
        self._checked: set[Key] = set()
        self._told: set[str] = set()

    def sources(self, request: Request) -> tuple[Source, Source]:
        """Return what the head phase and the fine-tune phase train on; make what is missing.

        Where memory does not hold what the rooms were to keep, they keep half as much from then on.
        """
        try:
            return self._sources(request)
        except Exception as error:
            if is_short(error):
                for room in self._in_memory():
                    room.budget //= 2
            raise

    def release(self) -> None:
        """Give back all memory that is held; what it kept is made again when it is asked for."""
        for room in self._in_memory():
            room.clear()

    def _in_memory(self) -> list[MemoryRoom]:
        return [room for room in self.rooms.values() if isinstance(room, MemoryRoom)]

    def _sources(self, request: Request) -> tuple[Source, Source]:
        request = replace(request, images=self._images(request))
        n_layers, samples = len(request.model.layers), request.samples
        profile = self._profile(request)
        sizes = {layer: profile.bytes(layer) for layer in profile.specs}
        costs = costs_of(profile.seconds, sizes, n_layers, len(samples), samples.per_epoch)
        wanted = [
            (n_layers, request.head_epochs),
            (request.delimiting_layer, request.finetune_epochs),
        ]
        if not self._make(request, costs, self._missing(request, costs, wanted)):
            self._make(request, costs, self._missing(request, costs, wanted))  # without the disk
        self._tell_if_nothing_fits(request, costs)
        return self._source(request, costs, *wanted[0]), self._source(request, costs, *wanted[1])

    def _images(self, request: Request) -> Tensor:
        """Return the images in the memory of the device, if that is another than the host's."""
        device = next(request.model.parameters()).device
        for room in self.rooms.values():
            if isinstance(room, MemoryRoom) and room.device == device != request.images.device:
                return room.hold(Key(request.checksum, 0), request.images)
        return request.images

    def _graph(self, request: Request) -> CutGraph:
        key = (request.name, tuple(request.images.shape[1:]))
        if key not in self._graphs:
            backbone = request.model.backbone
            graph = trace(backbone, request.name)
            self._graphs[key] = CutGraph(graph, request.model.layers, backbone)
        return self._graphs[key]

    def _profile(self, request: Request) -> Profile:
        """Measure the backbone, once; one that cannot be cut has nothing to offer."""
        if request.work not in self._profiles:
            frozen = FrozenPass(request.model.backbone, self._graph(request), request.bf16)
            images = _normalised(request, slice(0, PROFILE_IMAGES))
            self._profiles[request.work] = frozen.profile(images)
        return self._profiles[request.work]

    def _kept(self, work: str) -> dict[int, float]:
        """Return the cuts that are kept, with the rate of reading them."""
        kept: dict[int, float] = {}
        for room in self.rooms.values():
            for cut in room.cuts(work):
                kept[cut] = max(room.rate, kept.get(cut, 0.0))
        return kept

    def _find(self, key: Key) -> tuple[Tensor, ...]:
        found = [room.find(key) for room in self.rooms.values()]
        return next(each.tensors for each in found if each is not None)

    def _missing(
        self, request: Request, costs: Costs, wanted: Sequence[tuple[int, int]]
    ) -> dict[int, str]:
        """Return the cuts that are worth making, with the room of each."""
        kept = self._kept(request.work)
        views = {name: _View(room, request.work) for name, room in self.rooms.items()}
        missing: dict[int, str] = {}
        for layer, epochs in wanted:
            planned = {cut: self.rooms[name].rate for cut, name in missing.items()}
            choice = choose(layer, epochs, costs, kept | planned, views)
            for view in views.values():
                view.needed.add(choice.cut)
            if choice.room is not None:
                views[choice.room].reserve(choice.cut, costs.bytes[choice.cut])
                missing[choice.cut] = choice.room
        if self._vary_layer and not kept:
            missing |= spread(costs, missing, views)
        return missing

    def _make(self, request: Request, costs: Costs, missing: Mapping[int, str]) -> bool:
        """Run one pass from the deepest cut that is kept to the last one that is missing.

        Returns False where the disk failed, which is then used no more.
        """
        if not missing:
            return True
        graph, specs = self._graph(request), self._profile(request).specs
        start = max((cut for cut in self._kept(request.work) if cut < min(missing)), default=0)
        try:
            with ExitStack() as stack:
                into = {}
                for layer in sorted(missing):
                    making = self.rooms[missing[layer]].making(
                        Key(request.work, layer),
                        specs[layer],
                        len(request.samples),
                        costs.seconds[layer],
                    )
                    into[graph.cuts[layer]] = stack.enter_context(making)
                self._pass(request, graph.cuts.get(start), into)
        except OSError as error:
            self._tell(f"Activations cannot be kept on disk ({error}); memory alone is used")
            self.rooms = {n: r for n, r in self.rooms.items() if isinstance(r, MemoryRoom)}
            return False
        self._tell_what_is_kept(request, costs, missing)
        return True

    def _pass(
        self, request: Request, start: Cut | None, into: Mapping[Cut, Sequence[Tensor]]
    ) -> None:
        """Bring all samples from ``start`` through the frozen layers, and fill what is given."""
        frozen = FrozenPass(request.model.backbone, self._graph(request), request.bf16)
        specs = self._profile(request).specs
        kept = self._find(Key(request.work, start.layer)) if start else ()
        device = next(request.model.parameters()).device
        for rows in self._batches(request):
            values = [tensor[rows].to(device, copy=True) for tensor in kept]
            takes = {cut: _writer(into[cut], specs[cut.layer], rows) for cut in into}
            frozen.run(start, values or [_normalised(request, rows)], takes)
        if start is None:
            self.images_passed += len(request.samples)

    def _batches(self, request: Request) -> Iterator[slice]:
        length = len(request.samples)
        with tqdm(
            total=length,
            desc=f"frozen layers of {request.name}",
            unit="image",
            leave=False,
            disable=None if self._progress else True,
        ) as bar:
            for first in range(0, length, PASS_BATCH):
                rows = slice(first, min(first + PASS_BATCH, length))
                yield rows
                bar.update(rows.stop - rows.start)

    def _source(self, request: Request, costs: Costs, layer: int, epochs: int) -> Source:
        """Return the best of what is kept for layers 0..layer-1 being frozen."""
        kept = self._kept(request.work)
        cut = choose(layer, max(1, epochs), costs, kept, {}).cut
        if cut == 0:
            return from_images(request.images)
        graph = self._graph(request)
        source = Source(
            self._find(Key(request.work, cut)),
            lambda model: suffix_of(model.backbone, graph, graph.cuts[cut]),
            cut,
            request.samples.positions(len(request.images)),
        )
        return source if self._agrees(request, source) else from_images(request.images)

    def _agrees(self, request: Request, source: Source) -> bool:
        """Check on a few images that cutting changes nothing: no trace is beyond doubt."""
        key = Key(request.work, source.cut)
        if key in self._checked:
            return True
        difference = _disagreement(request, source)
        dtype = torch.bfloat16 if request.bf16 else torch.float32
        if difference <= AGREEMENT[dtype]:
            self._checked.add(key)
            return True
        self._tell(
            f"{request.name} does not give the same features when it is cut at layer "
            f"{source.cut} (relative difference {difference:.2g}): its layers are computed anew"
        )
        self._profiles[request.work] = Profile({}, {})
        return False

    def _tell_what_is_kept(
        self, request: Request, costs: Costs, missing: Mapping[int, str]
    ) -> None:
        if any(told.startswith(request.work) for told in self._told):
            return
        self._told.add(request.work)
        sizes: Counter[str] = Counter()
        for cut, place in missing.items():
            sizes[place] += costs.bytes[cut]
        logger.info(
            "Frozen layers of %s are computed once for all trials: %s",
            request.name,
            ", ".join(f"{size / 1e6:.0f} MB in {place}" for place, size in sizes.items()),
        )

    def _tell_if_nothing_fits(self, request: Request, costs: Costs) -> None:
        """Say it when a larger budget would save the computing of frozen layers."""
        layer, epochs = request.delimiting_layer, request.finetune_epochs
        if choose(layer, epochs, costs, self._kept(request.work), {}).cut:
            return
        rates = [room.rate for room in self.rooms.values() if room.budget]
        ideal = choose(layer, epochs, costs, {}, {"": Unlimited(max(rates, default=1e9))})
        if ideal.cut:
            self._tell(
                f"The frozen layers of {request.name} are computed in every epoch: what crosses "
                f"layer {ideal.cut} takes {costs.bytes[ideal.cut] / 1e9:.2g} GB, more than "
                "reuse.memory_gb and reuse.disk_gb leave"
            )

    def _tell(self, message: str) -> None:
        """Warn, but only once."""
        if message not in self._told:
            self._told.add(message)
            logger.warning("%s", message)


def cut_off(model: TransferModel, name: str, cut: int) -> Suffix:
    """Return what maps the values that cross a cut of ``model``, of architecture ``name``."""
    graph = CutGraph(trace(model.backbone, name), model.layers, model.backbone)
    return suffix_of(model.backbone, graph, graph.cuts[cut])


class _View:
    """A room as one plan sees it.

    What is reserved is taken; what the trial needs, or may start a pass from, does not give way.
    """

    def __init__(self, room: MemoryRoom | DiskRoom, work: str) -> None:
        self.rate = room.rate
        self.reserved = 0
        self.needed: set[int] = set()
        self._room, self._work = room, work

    def free(self) -> int:
        return self._room.free() - self.reserved

    def regret(self, size: int, cut: int) -> float:
        return self._room.regret(size + self.reserved, self._protected(cut))

    def reserve(self, cut: int, size: int) -> None:
        self.reserved += size
        self._room.make_room(self.reserved, self._protected(cut))

    def _protected(self, cut: int) -> list[Key]:
        kept = self._room.cuts(self._work)
        return [Key(self._work, other) for other in kept if other < cut or other in self.needed]


def _normalised(request: Request, rows: slice) -> Tensor:
    device = next(request.model.parameters()).device
    return request.model.normalise(request.batch(rows).to(device))


def _writer(tensors: Sequence[Tensor], specs: Sequence[TensorSpec], rows: slice) -> Take:
    def take(values: list[Tensor]) -> None:
        for tensor, spec, value in zip(tensors, specs, values, strict=True):
            tensor[rows] = spec.stored(value)

    return take


@torch.no_grad()
def _disagreement(request: Request, source: Source) -> float:
    """Return the greatest difference between cut and uncut features, relative to the greatest."""
    model = request.model
    device = next(model.parameters()).device
    modes = {module: module.training for module in model.modules()}
    model.eval()
    rows = slice(0, CHECKED_IMAGES)
    with torch.autocast(device.type, torch.bfloat16, enabled=request.bf16):
        whole = model.features(request.batch(rows).to(device)).float()
        cut = source.features(model)(*(x[rows].to(device, copy=True) for x in source.inputs))
    for module, mode in modes.items():
        module.training = mode
    return float((cut.float() - whole).abs().max() / whole.abs().max().clamp_min(1e-9))
