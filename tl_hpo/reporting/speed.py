"""How fast the best model predicts, in a sentence."""

from pathlib import Path

from tl_hpo.inference.speed import SPEED_FILE, Speed
from tl_hpo.reporting.markdown import plain
from tl_hpo.reporting.reading import read_object


def section(model_folder: Path) -> list[str]:
    """Return a paragraph of Markdown on the speed of a model; none where it is unknown."""
    found = read_object(model_folder / SPEED_FILE, Speed)
    if found is None:
        return []
    return [
        f"A forward pass takes {found.images_per_second:.1f} images per second in batches of "
        f"{found.batch_size}, and {found.latency_ms:.1f} ms for a single image "
        f"({plain(found.device)}, precision {plain(found.precision)}; decoding not counted)."
    ]
