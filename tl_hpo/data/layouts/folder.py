"""Your own images, one folder per class."""

from omegaconf import DictConfig

from tl_hpo.data.layouts.listing import folders, from_folders, in_order, tell_left_out
from tl_hpo.data.roots import existing_root, visible
from tl_hpo.data.table import ImageTable
from tl_hpo.errors import UserError


def load_folder(cfg: DictConfig) -> ImageTable:
    """Return the images of one folder per class; nested folders belong to the class above.

    Raises:
        UserError: ``cfg.root`` is missing, empty, or has no folder in it.

    """
    root = existing_root(cfg.root, "put the images of each class in a folder of their own there")
    names = in_order(folder.name for folder in folders(root))
    if not names:
        raise UserError(
            f"dataset.root must hold one folder of images per class, got {root} without any "
            "folder; put the images of each class in a folder of their own there."
        )
    table = from_folders(cfg.name, root, names)
    tell_left_out(table, sorted(path for path in root.iterdir() if visible(path.name)))
    return table
