"""Published datasets as data: where they lie, what they weigh, what they may be used for."""

from collections.abc import Mapping
from dataclasses import dataclass

SITE = "https://datasets.simula.no"
GB = 1_000_000_000
# An archive of JPEG images unpacks to hardly more than its own size.
EXPANSION = 4


@dataclass(frozen=True)
class Companion:
    """A small file that belongs to a dataset but does not lie in its archive."""

    file: str
    url: str
    purpose: str


@dataclass(frozen=True)
class Published:
    """An archive that its authors publish.

    Attributes:
        title: name of the dataset and version, for the reader.
        version: as the configuration names it; empty where there is one only.
        page: where the authors describe it.
        url: of the archive.
        folder: that the archive unpacks to.
        size: about so many bytes, to be told before a transfer; None where nobody says.
        max_unpacked: bytes; an archive that claims more is refused.
        sha256: of the archive, lower-case hex; None where none is published.
        terms: of use, a sentence without its stop.
        companions: lie in ``dataset.root`` beside what the archive held.

    """

    title: str
    version: str
    page: str
    url: str
    folder: str
    size: int | None
    max_unpacked: int
    sha256: str | None
    terms: str
    companions: tuple[Companion, ...] = ()

    @property
    def file(self) -> str:
        """Name of the archive, beside ``dataset.root``."""
        return self.url.rpartition("/")[2]

    @property
    def remedy(self) -> str:
        """What mends a ``dataset.root`` without the dataset, as the begin of a clause."""
        return f"unpack {self.url} there"


_RESEARCH = (
    "for research and educational purposes only; other uses, commercial ones included, need prior "
    "written permission; cite the dataset paper"
)

KVASIR: Mapping[str, Published] = {
    "1": Published(
        title="Kvasir v1",
        version="1",
        page=f"{SITE}/kvasir/",
        url=f"{SITE}/downloads/kvasir/kvasir-dataset.zip",
        folder="kvasir-dataset",
        size=int(1.2 * GB),
        max_unpacked=EXPANSION * int(1.2 * GB),
        sha256=None,
        terms=_RESEARCH,
    ),
    "2": Published(
        title="Kvasir v2",
        version="2",
        page=f"{SITE}/kvasir/",
        url=f"{SITE}/downloads/kvasir/kvasir-dataset-v2.zip",
        folder="kvasir-dataset-v2",
        size=int(2.3 * GB),
        max_unpacked=EXPANSION * int(2.3 * GB),
        sha256=None,
        terms=_RESEARCH,
    ),
}
NERTHUS = Published(
    title="Nerthus",
    version="",
    page=f"{SITE}/nerthus/",
    url=f"{SITE}/downloads/nerthus/nerthus.zip",
    folder="nerthus-dataset-frames",
    size=None,
    max_unpacked=8 * GB,  # 5,525 frames of 720 x 576 in RGB are 6.9 GB before compression
    sha256=None,
    terms=_RESEARCH,
)
OFFICIAL_SPLIT = Companion(
    file="2_fold_split.csv",
    url="https://raw.githubusercontent.com/simula/hyper-kvasir/master/official_splits/2_fold_split.csv",
    purpose="the official split",
)
HYPERKVASIR = Published(
    title="HyperKvasir",
    version="",
    page=f"{SITE}/hyper-kvasir/",
    url=f"{SITE}/downloads/hyper-kvasir/hyper-kvasir-labeled-images.zip",
    folder="labeled-images",
    size=int(3.9 * GB),
    max_unpacked=EXPANSION * int(3.9 * GB),
    # Not on the page itself: what a public script that fetches this archive expects.
    sha256="c603449b1bc0be86948b11d9aea8b2002058a11e6f5499e2a384b9ae9c8dbd3f",
    terms="CC BY 4.0; cite Borgli et al. 2020",
    companions=(OFFICIAL_SPLIT,),
)
