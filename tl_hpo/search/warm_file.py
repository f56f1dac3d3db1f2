"""warm_start.json: what a search has learnt from earlier experiments, kept in its run folder.

It is written before the first trial and read by every later start, so that the earlier folders
may be removed, or go on, without changing the search.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from tl_hpo.errors import UserError
from tl_hpo.files import write_json
from tl_hpo.search.earlier import Earlier
from tl_hpo.search.known_images import KnownImages

WARM_FILE = "warm_start.json"

_CONFIGURATIONS = "configurations"
BROUGHT = "brought"
LEFT_OUT = "left_out"


@dataclass(frozen=True)
class Brought:
    """A trial of a step that is one of an earlier experiment again.

    Attributes:
        step, number: the trial.
        source: folder, step and number of the earlier trial, in words.
        accuracy: on the validation side there, None where it is not known.
    """

    step: str
    number: int
    source: str
    accuracy: float | None


@dataclass(frozen=True)
class LeftOut:
    """An earlier configuration that has no place in a step.

    Attributes:
        step: in which it has none.
        source: folder, step and number of the earlier trial, in words.
        reason: in words.
        kind: the reason without its numbers.
    """

    step: str
    source: str
    reason: str
    kind: str


def write_warm_start(path: Path, found: Sequence[Earlier], known: KnownImages) -> None:
    """Write all configurations, the best first, and what their experiments knew of the images."""
    write_json(path, {**asdict(known), _CONFIGURATIONS: [_as_json(each) for each in found]})


def note_step(
    path: Path, step: str, brought: Sequence[Brought], left_out: Sequence[LeftOut]
) -> None:
    """Keep what a step has brought along and left out, instead of what was said of it before."""
    told = _read(path)
    for key, records in ((BROUGHT, brought), (LEFT_OUT, left_out)):
        others = [each for each in told.get(key, []) if each["step"] != step]
        told[key] = [*others, *(asdict(each) for each in records)]
    write_json(path, told)


def read_configurations(path: Path) -> list[Earlier] | None:
    """Return the configurations that are kept, None where there is no file.

    Raises:
        UserError: the file has been changed.
    """
    if not path.is_file():
        return None
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        return [_from_json(each) for each in told[_CONFIGURATIONS]]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} must be as optimize.py wrote it, got {error!r}; remove it to read the "
            "folders of search.warm_start again."
        ) from error


def read_known_images(path: Path) -> KnownImages:
    """Return what is kept about the images, nothing known where there is no file."""
    known = {entry.name for entry in fields(KnownImages)}
    return KnownImages(**{key: value for key, value in _read(path).items() if key in known})


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _as_json(earlier: Earlier) -> dict[str, Any]:
    own = {"folder": str(earlier.folder), "axes": sorted(earlier.axes)}
    return asdict(earlier) | own


def _from_json(told: Mapping[str, Any]) -> Earlier:
    own = {
        "folder": Path(told["folder"]),
        "axes": frozenset(told["axes"]),
        "overrides": tuple(told["overrides"]),
    }
    return Earlier(**(dict(told) | own))
