"""Layouts of datasets on disk, a module each: from a configuration to an `ImageTable`."""

from collections.abc import Callable, Mapping

from omegaconf import DictConfig

from tl_hpo.data.layouts.csv_table import load_csv
from tl_hpo.data.layouts.folder import load_folder
from tl_hpo.data.layouts.hyperkvasir import load_hyperkvasir
from tl_hpo.data.layouts.kvasir import load_kvasir
from tl_hpo.data.layouts.nerthus import load_nerthus
from tl_hpo.data.phantom import load_phantom
from tl_hpo.data.table import ImageTable

LAYOUTS: Mapping[str, Callable[[DictConfig], ImageTable]] = {
    "csv": load_csv,
    "folder": load_folder,
    "hyperkvasir": load_hyperkvasir,
    "kvasir": load_kvasir,
    "nerthus": load_nerthus,
    "phantom": load_phantom,
}
