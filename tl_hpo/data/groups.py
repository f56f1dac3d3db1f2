"""Which images belong together and must not be parted by a split."""

import logging
from collections.abc import Callable, Sequence

from tl_hpo.data.table import ImageTable
from tl_hpo.errors import UserError, some_of, unknown

log = logging.getLogger(__name__)

WAYS = ("auto", "video", "near_duplicates", "none")

FindGroups = Callable[[ImageTable], tuple[str, ...]]


def resolve_groups(
    table: ImageTable, groups: str, near_duplicates: FindGroups | None
) -> tuple[str, ...] | None:
    """Return the group of each image, [n], or None where images are split one by one.

    Args:
        table: n images.
        groups: ``video``: the dataset's own groups; ``near_duplicates``: what that function finds;
            ``auto``: the former where they are known, else the latter; ``none``; or the name of a
            column of the table. An image without a value there is a group of its own, which is
            told.
        near_duplicates: names the cluster of each image, [n].

    Raises:
        UserError: an unknown name, or ``video`` for a dataset that knows none.
        ValueError: near-duplicates are asked for without a function that finds them.

    """
    if groups == "none":
        return None
    if groups == "near_duplicates" or (groups == "auto" and table.groups is None):
        if near_duplicates is None:
            raise ValueError(f"split.groups={groups} needs a function that finds near-duplicates")
        return near_duplicates(table)
    if groups in table.columns:
        return _each_named(table, table.columns[groups], groups)
    if groups not in WAYS:
        raise unknown("split.groups", groups, [*WAYS, *table.columns])
    if table.groups is None:
        raise UserError(
            f"split.groups=video must go with a dataset that knows its videos or patients, got "
            f"dataset={table.name}, which does not; set split.groups=near_duplicates or "
            f"{' or '.join(['none', *table.columns])}."
        )
    return _each_named(table, table.groups, groups)


def _each_named(table: ImageTable, values: Sequence[str], groups: str) -> tuple[str, ...]:
    """Return ``values``, an empty one replaced by the path of its image."""
    empty = [table.relative(index) for index, value in enumerate(values) if not value.strip()]
    if empty:
        log.warning(
            "%d images of %s have no value for split.groups=%s, so each is a group of its own (%s)",
            len(empty),
            table.name,
            groups,
            some_of(empty),
        )
    return tuple(
        value if value.strip() else table.relative(index) for index, value in enumerate(values)
    )
