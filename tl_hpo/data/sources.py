"""Where images come from: the dispatcher of the layouts."""

from omegaconf import DictConfig

from tl_hpo.data.layouts import LAYOUTS
from tl_hpo.data.table import ImageTable, check_counts
from tl_hpo.errors import unknown


def load_table(cfg: DictConfig) -> ImageTable:
    """Return the images of the dataset that ``cfg`` (the config group `dataset`) describes.

    A published dataset whose files are absent is fetched first, unless ``cfg.download`` is false.

    Raises:
        UserError: unknown ``cfg.kind``, missing or empty ``cfg.root``, fewer than two classes, a
            class with fewer than two images, a missing class folder of a published dataset, one
            that cannot be fetched, a table that cannot be read.

    """
    if cfg.kind not in LAYOUTS:
        raise unknown("dataset.kind", str(cfg.kind), LAYOUTS)
    return check_counts(LAYOUTS[cfg.kind](cfg))
