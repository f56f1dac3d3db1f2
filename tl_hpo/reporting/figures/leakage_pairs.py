"""The worst pairs of duplicates that an audit found, side by side."""

from pathlib import Path

from tl_hpo.data.audit.records import Audit, Member, Pair
from tl_hpo.reporting.figures.images import load
from tl_hpo.reporting.figures.pairs import (
    Example,
    ImagePair,
    caption,
    draw_none,
    draw_pairs,
    heading,
)
from tl_hpo.reporting.figures.style import shortened

NAME_LENGTH = 60
TITLE = "Nearly the same images across the split, or of two classes"
NONE = "No images that are nearly the same lie on different sides of the split or in two classes."


def draw(audit: Audit, root: Path, path: Path, title: str) -> None:
    """Draw the pairs of ``audit``, the worst first; without any the figure says so.

    Args:
        audit: what was found.
        root: folder that the paths of the images are relative to.
        path: of the PNG.
        title: of the figure.

    Raises:
        FileNotFoundError: none of the images can be read.

    """
    if audit.pairs:
        draw_pairs([_pair(pair, root) for pair in audit.pairs], path, title)
    else:
        draw_none(NONE, path, title)


def _pair(pair: Pair, root: Path) -> ImagePair:
    what = "the same file" if pair.exact else f"{pair.distance} of 256 bits differ"
    mixed = pair.first.label != pair.second.label
    told = f"{what}, two classes" if mixed else what
    return ImagePair(heading(told), _example(pair.first, root), _example(pair.second, root))


def _example(member: Member, root: Path) -> Example:
    lines = (
        f"{member.side} side, {shortened(member.label, NAME_LENGTH)}",
        shortened(member.path, NAME_LENGTH),
    )
    return Example(load(root, member.path), "\n".join(caption(line) for line in lines))
