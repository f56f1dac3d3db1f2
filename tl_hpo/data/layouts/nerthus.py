"""Nerthus: frames of colonoscopies, graded by how clean the bowel is."""

import re
from dataclasses import replace

import numpy as np
from omegaconf import DictConfig

from tl_hpo.data.download import published_root
from tl_hpo.data.layouts.listing import files, from_folders, tell, tell_left_out, with_classes
from tl_hpo.data.published import NERTHUS
from tl_hpo.data.table import ImageTable

CLASSES = ("0", "1", "2", "3")
# bowel_<video>_score_<BBPS>-<part>_<frame>.jpg
FILE_NAME = re.compile(r"bowel_(\d+)_score_([0-3])-\d+_\d+\.\w+", re.ASCII | re.IGNORECASE)


def load_nerthus(cfg: DictConfig) -> ImageTable:
    """Return Nerthus: class (BBPS 0 to 3) and group (video) as the file names tell them.

    A file of another name takes its folder's class and the group ``unnamed-<class>``; such files,
    and those in a folder other than their name's score, are told in one warning each.

    Raises:
        UserError: a class folder is missing, or the dataset is and cannot be fetched.

    """
    root = published_root(cfg, NERTHUS)
    folder = with_classes(root, CLASSES, cfg.name, NERTHUS.remedy)[0]
    table = from_folders(cfg.name, folder, CLASSES)
    tell_left_out(table, files(folder))
    matches = [FILE_NAME.fullmatch(path.name) for path in table.paths]
    labels, groups = table.labels.copy(), []
    for index, match in enumerate(matches):
        if match:
            labels[index] = int(match[2])
        groups.append(match[1] if match else f"unnamed-{table.labels[index]}")
    unnamed = [index for index, match in enumerate(matches) if match is None]
    moved = np.flatnonzero(labels != table.labels).tolist()
    tell(table, unnamed, "are not named bowel_<video>_score_<BBPS>-<part>_<frame>.jpg: video "
         "unknown, class taken from the folder")  # fmt: skip
    tell(table, moved, "lie in another folder than the score in their name: the name counts")
    return replace(table, labels=labels, groups=tuple(groups))
