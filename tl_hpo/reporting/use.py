"""What using the best model is like, in words: how calibrated it is, and how fast."""

from tl_hpo.reporting.markdown import number, plain, table
from tl_hpo.reporting.records import Run
from tl_hpo.training.calibration import BINS, CalibrationError

UNSCALED = (
    "No temperature could be fitted, since every validation image is classified correctly: "
    "predict.py gives the probabilities as they are."
)
CALIBRATED = (
    f"The expected calibration error ({BINS} bins) is the mean distance between what the model "
    "says of its own certainty and how often it is right: 0 is best. The temperature, by which the "
    "logits are divided and which predict.py uses, was fitted to the validation images, so look at "
    "the test side where there is one."
)


def calibration(run: Run) -> list[str]:
    """Return the section as Markdown blocks, none where it is not known."""
    found = run.calibration
    if found is None:
        return []
    sides = {"validation": found.validation, "test": found.test}
    rows = [_errors(name, errors) for name, errors in sides.items() if errors]
    return [
        "## Calibration",
        f"Temperature {found.temperature:.3f}. Expected calibration error:",
        table(["side", "before", "after"], rows),
        UNSCALED if found.temperature == 1.0 else CALIBRATED,
    ]


def _errors(side: str, errors: CalibrationError) -> list[str]:
    return [side, number(errors.before), number(errors.after)]


def speed(run: Run) -> list[str]:
    """Return the section as Markdown blocks, none where the speed was not measured."""
    found = run.speed
    if found is None:
        return []
    return [
        "## Speed",
        f"On {plain(found.device)}, precision {plain(found.precision)}: "
        f"{found.images_per_second:,.1f} images per second in batches of {found.batch_size} and "
        f"{found.latency_ms:,.1f} ms for a single image (batch 1), decoding not counted.",
    ]
