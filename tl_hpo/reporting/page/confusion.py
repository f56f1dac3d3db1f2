"""The confusion matrix, whose cells open the images in them."""

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any

from markupsafe import Markup

from tl_hpo.reporting.files import side_suffix
from tl_hpo.reporting.page.rendering import Section, fill, section
from tl_hpo.reporting.page.thumbnails import Thumbnail, Thumbnails
from tl_hpo.reporting.records import Prediction, Run, SideMetrics

PIXELS = 112
PER_CELL = 24
MOST_IMAGES = 800
"""Files that are read for the cells, so that a page of a large dataset does not take long."""
MOST_CLASSES = 50
"""More rows and columns nobody reads, and their cells would need megabytes."""
DEEP = 0.55
"""Share of a class above which a cell is so dark that its text is white."""

Cell = tuple[int, int]


def confusion(run: Run, images: Thumbnails) -> Section | None:
    """Return the confusion matrix of each side."""
    if run.metrics is None:
        return None
    classes = run.experiment.classes
    if len(classes) > MOST_CLASSES:
        told = f"A matrix of {len(classes)} classes is too large for this page: "
        return section("confusion", "Confusion matrix", fill("large.html.j2", told=told))
    predictions = run.judged
    parts = [
        _side(side, metrics, classes, predictions.get(side, ()), images)
        for side, metrics in run.metrics.sides().items()
    ]
    return section("confusion", "Confusion matrix", *parts)


def _side(
    side: str,
    metrics: SideMetrics,
    classes: Sequence[str],
    predictions: Sequence[Prediction],
    images: Thumbnails,
) -> Markup:
    cells = cells_of(predictions, classes)
    shown = _shown(cells, images)
    rows = [
        {"name": name, "images": sum(counts), "cells": _row(row, counts, classes, set(shown))}
        for row, (name, counts) in enumerate(zip(classes, metrics.confusion, strict=True))
    ]
    file = f"figures/confusion_matrix{side_suffix(side)}"
    told = {f"{row},{column}": found for (row, column), found in shown.items()}
    return fill("confusion.html.j2", side=side, classes=classes, rows=rows, file=file, images=told)


def _row(row: int, counts: Sequence[int], classes: Sequence[str], opened: set[Cell]) -> list[Any]:
    total = max(1, sum(counts))
    return [
        {
            "count": count,
            "share": count / total,
            "deep": count / total > DEEP,
            "key": f"{row},{column}" if (row, column) in opened else "",
            "about": f"true {classes[row]}, taken for {classes[column]}"
            if row != column
            else f"true {classes[row]}, recognised",
        }
        for column, count in enumerate(counts)
    ]


def cells_of(
    predictions: Sequence[Prediction], classes: Sequence[str]
) -> Mapping[Cell, list[Prediction]]:
    """Return the images of each (true, predicted), the surest first; mistakes before the rest."""
    number = {name: index for index, name in enumerate(classes)}
    cells: dict[Cell, list[Prediction]] = {}
    for row in sorted(predictions, key=lambda row: -row.confidence):
        if row.label in number and row.predicted in number:
            cells.setdefault((number[row.label], number[row.predicted]), []).append(row)
    return dict(sorted(cells.items(), key=lambda cell: (cell[0][0] == cell[0][1], cell[0])))


def in_turns(cells: Mapping[Cell, Sequence[Prediction]]) -> list[tuple[Cell, Prediction]]:
    """Return images from every cell in turns: the first of each, then the second, and so on."""
    turns = zip_longest(*([(c, p) for p in own[:PER_CELL]] for c, own in cells.items()))
    return [each for turn in turns for each in turn if each is not None][:MOST_IMAGES]


def _shown(
    cells: Mapping[Cell, Sequence[Prediction]], images: Thumbnails
) -> dict[Cell, list[dict[str, Any]]]:
    """Return what a cell shows of its images, as many as there is room for."""
    chosen = in_turns(cells)
    found = images.of([prediction.path for _, prediction in chosen], PIXELS)
    shown: dict[Cell, list[dict[str, Any]]] = {}
    for (cell, prediction), thumbnail in zip(chosen, found, strict=True):
        shown.setdefault(cell, []).append(_told(prediction, thumbnail))
    return shown


def _told(prediction: Prediction, thumbnail: Thumbnail) -> dict[str, Any]:
    return {
        "path": prediction.path,
        "confidence": round(prediction.confidence, 3),
        "image": thumbnail.uri,
        "missing": thumbnail.missing,
    }
