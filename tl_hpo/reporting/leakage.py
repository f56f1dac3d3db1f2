"""What an audit found, in words: the section "Split and leakage" of a report."""

import json
from collections.abc import Iterator
from pathlib import Path

from tl_hpo.data.audit.records import (
    SUSPICIOUS,
    UNTESTED,
    Audit,
    Duplicates,
    Leak,
    Member,
    Shortcut,
    as_dict,
    from_dict,
)
from tl_hpo.data.near_duplicates import MAX_DISTANCE
from tl_hpo.errors import UserError
from tl_hpo.files import write_json
from tl_hpo.reporting.markdown import plain, table

AUDIT_FILE = "audit.json"
FIGURE = "figures/leakage_pairs.png"
KEPT_TOGETHER = "split=holdout split.groups=near_duplicates keeps them together."
KEPT_APART = (
    f"look at {FIGURE} whether their groups (patients, videos) are right. "
    "split=holdout split.groups=near_duplicates keeps them together, but no longer your groups."
)

HEADING = "## Split and leakage"
CLEAN = "Nothing was found that makes figures on this split look better than they are."
NEARLY = (
    f"Images count as nearly the same when at most {MAX_DISTANCE} of the 256 bits of a perceptual "
    "hash differ: neighbouring frames of a video, or a picture saved again. Mirrored and rotated "
    "copies are not found. Chains of such images make one set."
)
LEAKING = (
    "An image that is judged on while one nearly the same was trained on is an easy question: the "
    "higher these shares, the more the figures flatter."
)
FEATURES = {
    "size": "height and width in pixels",
    "border": "colours of the outermost 3 %",
    "overlay": "boxes and text at corners and edges",
}
SHORTCUTS = (
    "A simple classifier saw nothing but the feature named, never trained and judged on images "
    "that are nearly the same. Where it comes far above chance, a network may learn that instead "
    "of the finding; it may also be that the tissue at the edges differs honestly, so look at the "
    "images. The balanced accuracy counts every class alike."
)


def section(audit: Audit, *, pairs: bool = True, named: bool = True) -> list[str]:
    """Return the section as Markdown blocks, to be set apart by blank lines; warnings first.

    Without ``pairs`` the worst pairs are left out, for where they are shown; without ``named`` no
    file is named: a name may tell whose image it is.
    """
    told = [f"- **Warning:** {text}" for text in warnings(audit)]
    return [
        HEADING,
        "\n".join(told) or CLEAN,
        *_sets(audit),
        *_leaks(audit),
        *(_conflicts(audit) if named else []),
        *(_pairs(audit) if pairs and named else []),
        *_shortcuts(audit),
    ]


def write_audit(folder: Path, audit: Audit) -> Path:
    """Write ``audit`` as JSON into ``folder``, whole or not at all, and return the file."""
    path = Path(folder) / AUDIT_FILE
    write_json(path, as_dict(audit))
    return path


def read_audit(folder: Path) -> Audit | None:
    """Return what `write_audit` wrote into ``folder``, None where it did not.

    Raises:
        UserError: the file cannot be understood.

    """
    path = Path(folder) / AUDIT_FILE
    if not path.is_file():
        return None
    try:
        return from_dict(json.loads(path.read_text(encoding="utf-8")))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        cause = " ".join(f"{type(error).__name__}: {error}".split())
        raise UserError(
            f"{path} must be a file that an audit wrote, got {cause}; remove it and repeat the "
            "command that wrote the folder."
        ) from error


def warnings(audit: Audit) -> Iterator[str]:
    """Yield what may spoil the figures, a sentence each."""
    for side, leak in audit.exact.leaks.items():
        if leak.leaked:
            yield f"{_of(leak, side)} {_have(leak.leaked)} a copy, byte by byte, on the train side."
    for side, leak in audit.near.leaks.items():
        if leak.leaked:
            remedy = KEPT_APART if audit.own else KEPT_TOGETHER
            yield (
                f"{_of(leak, side)} {_have(leak.leaked)} one nearly the same on the train side: "
                f"figures of this side are higher than those on new images will be; {remedy}"
            )
    if audit.exact.across_classes:
        count = audit.exact.across_classes
        yield (
            f"{count} {_sets_of(count)} the same file under several classes: at most one of the "
            "labels is right."
        )
    mixed = audit.near.across_classes - audit.exact.across_classes
    if mixed > 0:
        yield (
            f"{mixed} {'set' if mixed == 1 else 'sets'} of images that are nearly the same "
            f"{_have(mixed)} several classes: look at their labels, and at {FIGURE}."
        )
    if audit.own and audit.own.crossing:
        yield (
            f"{audit.own.crossing} of {audit.own.groups} groups of the dataset (videos, patients) "
            "lie on several sides of the split."
        )
    yield from (_suspicion(found) for found in audit.shortcuts if found.verdict == SUSPICIOUS)
    if audit.unreadable:
        yield f"{audit.unreadable} of {audit.images} files cannot be read as images."
    if not audit.pairs_complete:
        yield "there are too many near-duplicates to look at all; the counts below are too low."


def _of(leak: Leak, side: str) -> str:
    return f"{leak.leaked} of {leak.images} images of the {side} side ({leak.share:.1%})"


def _have(count: int) -> str:
    return "has" if count == 1 else "have"


def _sets_of(count: int) -> str:
    return "set has" if count == 1 else "sets have"


def _suspicion(found: Shortcut) -> str:
    return (
        f"the classes can be told by the {found.feature} alone ({FEATURES[found.feature]}): "
        f"balanced accuracy {found.balanced_accuracy:.2f}, by chance {found.chance:.2f}."
    )


def _sets(audit: Audit) -> list[str]:
    rows = [_set_row("the same file", audit.exact), _set_row("nearly the same", audit.near)]
    header = ["", "sets", "images", "largest set", "on several sides", "of several classes"]
    return [f"Sets of two or more among {audit.images} images:", table(header, rows), NEARLY]


def _set_row(name: str, found: Duplicates) -> list[str]:
    counts = (found.sets, found.images, found.largest if found.sets else 0)
    return [name, *map(str, (*counts, found.crossing, found.across_classes))]


def _leaks(audit: Audit) -> list[str]:
    kinds = {"the same file": audit.exact.leaks, "nearly the same": audit.near.leaks}
    if audit.own:
        kinds["the same group"] = audit.own.leaks
    rows = [
        [side, str(leak.images), *(_share(leaks[side]) for leaks in kinds.values())]
        for side, leak in audit.near.leaks.items()
    ]
    if not rows:
        return ["There is no side beside the train side."]
    header = ["side", "images", *(f"{kind} on the train side" for kind in kinds)]
    return [table(header, rows), LEAKING]


def _share(leak: Leak) -> str:
    return f"{leak.leaked} ({leak.share:.1%})"


def _conflicts(audit: Audit) -> list[str]:
    found = audit.exact.conflicts
    if not found:
        return []
    lines = [f"- {', '.join(_named(member) for member in members)}" for members in found]
    more = audit.exact.across_classes - len(found)
    lines += [f"- and {more} more"] if more else []
    return ["The same file under several classes:", "\n".join(lines)]


def _named(member: Member) -> str:
    return f"{plain(member.path)} ({plain(member.label)})"


def _pairs(audit: Audit) -> list[str]:
    if not audit.pairs:
        return []
    rows = [
        [
            _sided(pair.first),
            _sided(pair.second),
            "the same file" if pair.exact else f"{pair.distance}",
        ]
        for pair in audit.pairs
    ]
    return [
        f"The worst pairs, drawn in {FIGURE}:",
        table(["image", "and", "bits that differ"], rows),
    ]


def _sided(member: Member) -> str:
    return f"{plain(member.path)} ({plain(member.label)}, {member.side})"


def _shortcuts(audit: Audit) -> list[str]:
    header = ["feature", "verdict", "accuracy", "largest class", "balanced accuracy", "chance"]
    rows = [_shortcut_row(found) for found in audit.shortcuts]
    notes = {found.note for found in audit.shortcuts if found.note}
    told = [f"Classes {plain(note)}." for note in sorted(notes)]
    return ["Can the classes be told without looking?", table(header, rows), *told, SHORTCUTS]


def _shortcut_row(found: Shortcut) -> list[str]:
    name = f"{found.feature}: {FEATURES[found.feature]}"
    if found.verdict == UNTESTED:
        return [name, found.verdict, "", "", "", ""]
    figures = (found.accuracy, found.majority, found.balanced_accuracy, found.chance)
    return [name, found.verdict, *(f"{value:.3f}" for value in figures)]
