"""What using the best model is like, in words: how calibrated it is, and how fast."""

from collections.abc import Mapping

from tl_hpo.reporting.markdown import number, plain, table
from tl_hpo.reporting.records import Run

CALIBRATED = (
    "The expected calibration error is the mean distance between what the model says of its own "
    "certainty and how often it is right: 0 is best. The temperature, by which the logits are "
    "divided, was fitted to the validation images, so look at the test side where there is one."
)


def calibration(run: Run) -> list[str]:
    """Return the section as Markdown blocks, none where no temperature was fitted."""
    found = run.calibration
    if found is None:
        return []
    sides = {"validation": found.validation, "test": found.test}
    rows = [_errors(name, errors) for name, errors in sides.items() if errors]
    return [
        "## Calibration",
        f"Temperature {found.temperature:.3f}. Expected calibration error:",
        table(["side", "before", "after"], rows),
        CALIBRATED,
    ]


def _errors(side: str, errors: Mapping[str, float]) -> list[str]:
    return [side, number(errors.get("before")), number(errors.get("after"))]


def speed(run: Run) -> list[str]:
    """Return the section as Markdown blocks, none where the speed was not measured."""
    found = run.speed
    if found is None:
        return []
    return [
        "## Speed",
        f"On {plain(found.device)}, precision {plain(found.precision)}: "
        f"{found.images_per_second:,.1f} images per second in batches of {found.batch_size}, and "
        f"{found.latency_ms:,.1f} ms for a single image (batch 1).",
    ]
