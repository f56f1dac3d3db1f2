"""The sections that show images: examples, mistaken pairs, pairs that leak."""

from collections.abc import Sequence

from markupsafe import Markup

from tl_hpo.data.audit.records import Audit, Pair
from tl_hpo.reporting.figures.class_examples import EXAMPLES, MOST_CLASSES
from tl_hpo.reporting.figures.images import spread
from tl_hpo.reporting.figures.mistaken_pairs import most_frequent, surest
from tl_hpo.reporting.page.rendering import Section, fill, section
from tl_hpo.reporting.page.thumbnails import Thumbnails
from tl_hpo.reporting.records import Prediction, Run

EXAMPLE_PIXELS = 180
PAIR_PIXELS = 280


def mistaken(run: Run, images: Thumbnails) -> Section | None:
    """Return, for the most frequent mistakes, a mistaken image beside one of what it looks like."""
    parts = [_mistakes(side, rows, images) for side, rows in run.judged.items()]
    return section("mistaken", "Mistaken pairs", *parts)


def _mistakes(side: str, rows: Sequence[Prediction], images: Thumbnails) -> Markup:
    """Show both images that the model is surest of, as the figure for a paper does."""
    pairs = []
    for (true, predicted), count in most_frequent(rows):
        wrong = surest(rows, (true, predicted))[0]
        right = surest(rows, (predicted, predicted))[:1]
        shown = images.of([row.path for row in (wrong, *right)], PAIR_PIXELS)
        words = [f"true class {true}, taken for {predicted}", f"a correct {predicted}"]
        captions = [
            f"{told}, confidence {row.confidence:.2f}"
            for told, row in zip(words, (wrong, *right), strict=False)
        ]
        plural = "image" if count == 1 else "images"
        heading = f"{true} taken for {predicted}: {count} {plural}"
        pairs.append({"heading": heading, "images": list(zip(shown, captions, strict=True))})
    none = f"None of the {len(rows)} images of the {side} side was taken for another class."
    return fill("pairs.html.j2", title=f"{side.capitalize()} side", pairs=pairs, none=none)


def examples(run: Run, images: Thumbnails) -> Section | None:
    """Return a few images of each class."""
    shown = run.experiment.classes[:MOST_CLASSES]
    classes = []
    for name in shown if run.split else ():
        paths = [row.path for row in run.split if row.label == name]
        found = images.of(spread(paths, EXAMPLES), EXAMPLE_PIXELS)
        classes.append({"name": name, "count": len(paths), "images": found})
    if not classes:
        return None
    more = len(run.experiment.classes) - len(shown)
    return section(
        "examples", "Examples of each class", fill("examples.html.j2", classes=classes, more=more)
    )


def leaking(audit: Audit | None, images: Thumbnails) -> Markup:
    """Return the worst pairs of an audit, side by side."""
    if audit is None or not audit.pairs:
        return Markup()
    pairs = [_leaking_pair(pair, images) for pair in audit.pairs]
    return fill("pairs.html.j2", title="The worst pairs", pairs=pairs, none="")


def _leaking_pair(pair: Pair, images: Thumbnails) -> dict[str, object]:
    members = (pair.first, pair.second)
    shown = images.of([member.path for member in members], PAIR_PIXELS)
    captions = [f"{member.side} side, {member.label}: {member.path}" for member in members]
    told = "the same file" if pair.exact else f"{pair.distance} of 256 bits differ"
    mixed = ", two classes" if pair.first.label != pair.second.label else ""
    return {"heading": told + mixed, "images": list(zip(shown, captions, strict=True))}
