"""How far the probabilities of the best model can be taken at their word, in a sentence."""

from pathlib import Path

from tl_hpo.training.calibration import BINS, CalibrationError, read_calibration

MEANING = f"The expected calibration error ({BINS} bins), by which confidence and accuracy differ,"
UNSCALED = (
    "No temperature could be fitted, since every validation image is classified correctly: "
    "predict.py gives the probabilities as they are."
)


def section(model_folder: Path) -> list[str]:
    """Return a paragraph of Markdown on the calibration of a model; none where it is unknown."""
    found = read_calibration(model_folder)
    if found is None:
        return []
    if found.temperature == 1.0:
        errors = f"{found.validation.before:.4f} on the validation side"
        if found.test is not None:
            errors += f" and {found.test.before:.4f} on the test side"
        return [f"{MEANING} is {errors}. {UNSCALED}"]
    told = [f"{_change(found.validation)} on the validation side, which it was fitted on"]
    if found.test is not None:
        told.append(f"{_change(found.test)} on the test side")
    return [
        f"{MEANING} goes, by temperature scaling (temperature {found.temperature:.3f}, used by "
        f"predict.py), from {' and from '.join(told)}."
    ]


def _change(error: CalibrationError) -> str:
    return f"{error.before:.4f} to {error.after:.4f}"
