"""Kvasir, both versions: 8 classes of the gastrointestinal tract, one folder each."""

from pathlib import Path

from omegaconf import DictConfig

from tl_hpo.data.download import published_root
from tl_hpo.data.layouts.listing import files, from_folders, tell_left_out, with_classes
from tl_hpo.data.published import KVASIR, Published
from tl_hpo.data.table import ImageTable
from tl_hpo.errors import UserError, unknown

NEWEST = "2"
CLASSES = (
    "dyed-lifted-polyps",
    "dyed-resection-margins",
    "esophagitis",
    "normal-cecum",
    "normal-pylorus",
    "normal-z-line",
    "polyps",
    "ulcerative-colitis",
)


def load_kvasir(cfg: DictConfig) -> ImageTable:
    """Return Kvasir in ``cfg.version``: 8 folders, in ``cfg.root`` or up to two folders deeper.

    Raises:
        UserError: unknown version, only the other version lies there, a class folder is missing,
            or the dataset is and cannot be fetched.

    """
    version = str(cfg.get("version", NEWEST))
    if version not in KVASIR:
        raise unknown("dataset.version", version, KVASIR)
    root = published_root(cfg, KVASIR[version])
    found = with_classes(root, CLASSES, cfg.name, KVASIR[version].remedy)
    base = _of_version(root, found, KVASIR[version])
    table = from_folders(cfg.name, base, CLASSES)
    tell_left_out(table, files(base))
    return table


def _of_version(root: Path, found: list[Path], wanted: Published) -> Path:
    """Return the folder that is named as the archive of the version names it, or a nameless one."""
    versions = {one.folder: version for version, one in KVASIR.items()}
    told: dict[str, Path] = {}
    for folder in found:
        parts = folder.relative_to(root).parts
        version = next((versions[part] for part in parts if part in versions), "")
        told.setdefault(version, folder)
    if wanted.version in told:
        return told[wanted.version]
    if "" in told:
        return told[""]
    other, folder = next(iter(told.items()))
    raise UserError(
        f"dataset.version must be one that lies in dataset.root, got {wanted.version} but "
        f"{folder} holds version {other}; set dataset.version={other}, or dataset.root=OTHER, "
        f"where version {wanted.version} lies or may be fetched to."
    )
