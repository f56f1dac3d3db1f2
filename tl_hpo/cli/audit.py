"""One audit, as ``python -m tl_hpo.data.audit`` runs it."""

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
from omegaconf import DictConfig

from tl_hpo.cli.entry import run_folder
from tl_hpo.data.audit.checks import audit as run_audit
from tl_hpo.data.audit.records import Audit
from tl_hpo.data.fingerprints import Fingerprints, FingerprintStore
from tl_hpo.data.images import readable
from tl_hpo.data.near_duplicates import near_duplicate_groups
from tl_hpo.data.sources import load_table
from tl_hpo.data.split import Split, make_split
from tl_hpo.data.split_settings import check_seed
from tl_hpo.data.table import ImageTable
from tl_hpo.files import remove_leftovers, write_text
from tl_hpo.reporting.figures import leakage_pairs
from tl_hpo.reporting.leakage import FIGURE, read_audit, section, warnings, write_audit
from tl_hpo.reporting.markdown import SYNTHETIC, plain

logger = logging.getLogger(__name__)

TEXT_FILE = "audit.md"


def audit(config: DictConfig) -> Audit:
    """Audit the dataset and the split that ``config`` describes; tell and write what was found."""
    folder = run_folder()
    remove_leftovers(folder)
    check_seed(config.seed)
    table, fingerprints, unreadable = _images(config)
    made = make_split(table, config.split, lambda _: near_duplicate_groups(fingerprints))
    found = run_audit(table, made.split, fingerprints, config.seed)
    found = replace(found, images=found.images + unreadable, unreadable=unreadable)
    text = "\n\n".join([*_heading(found), *section(found)]) + "\n"
    logger.info(text)
    for name, path in _write(folder, found, table.root, text).items():
        logger.info("  %-8s %s", name, path)
    return found


def audit_split(
    folder: Path, table: ImageTable, split: Split, fingerprints: Fingerprints, seed: int
) -> None:
    """Audit the images of an experiment, once, and warn of what spoils its figures.

    What is found goes to the run folder, where the report finds it.
    """
    found = read_audit(folder)
    if found is None:
        logger.info("Looking for leaks across the split ...")
        found = run_audit(table, split, fingerprints, seed)
        write_audit(folder, found)
    for text in warnings(found):
        logger.warning("Warning: %s", text)


def _images(config: DictConfig) -> tuple[ImageTable, Fingerprints, int]:
    """Return the images that can be read, and how many an experiment would leave out."""
    table = load_table(config.dataset)
    store = FingerprintStore(Path(config.store.dir))
    fingerprints = store.fingerprints(table, progress=bool(config.trainer.progress))
    failures = {int(i): "it is no image" for i in np.flatnonzero(~fingerprints.readable)}
    kept = readable(table, failures, config.dataset.max_unreadable)
    return kept, fingerprints.subset(np.flatnonzero(fingerprints.readable)), len(failures)


def _heading(found: Audit) -> list[str]:
    counts = found.sides.items()
    sides = ", ".join(f"{count} on the {side} side" for side, count in counts if count)
    return [
        f"# Audit of {plain(found.dataset)}",
        *([SYNTHETIC] if found.synthetic else []),
        f"{found.images} images in {len(found.classes)} classes: {sides}.",
    ]


def _write(folder: Path, found: Audit, root: Path, text: str) -> dict[str, Path]:
    """Write the files of the audit and return them by what they hold."""
    title = f"{leakage_pairs.TITLE} · {found.dataset}"
    title += " · synthetic images" if found.synthetic else ""
    write_text(folder / TEXT_FILE, text)
    leakage_pairs.draw(found, root, folder / FIGURE, title)
    return {
        "text": folder / TEXT_FILE,
        "numbers": write_audit(folder, found),
        "pairs": folder / FIGURE,
        "as SVG": (folder / FIGURE).with_suffix(".svg"),
    }
