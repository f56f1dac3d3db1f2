"""What a trial reports, while it runs and at its end. Knows nothing of torch."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

State = Literal["COMPLETE", "PRUNED"]

# In a trial's folder.
RESULT_FILE = "result.json"
HEAD_FILE = "head.safetensors"  # the trained classification block
MODEL_FOLDER = "model"  # the whole trained model
# In the run folder of an experiment.
BEST_MODEL = "best_model"  # the model of its best trial
# In the folder of a model.
METRICS_FILE = "metrics.json"
PREDICTIONS_FILE = "predictions.csv"


@dataclass(frozen=True)
class EpochRecord:
    """One epoch of one phase.

    Attributes:
        phase: ``head`` or ``finetune``.
        epoch: from 1 within its phase.
        number: from 1 within the trial, over both phases: epochs trained.
        step: the same, but fine-tuning begins after the head epochs that were planned, so that
            trials compare like with like where patience ended the head phase of some earlier.
        objective: value of the configured objective; larger is better.
        majority_share: share of the largest class on the validation side: what a classifier
            that always says that class reaches.
        learning_rate: that the epoch trained with; None in what earlier versions have kept.

    """

    phase: str
    epoch: int
    number: int
    step: int
    train_loss: float
    val_loss: float
    val_accuracy: float
    objective: float
    majority_share: float
    learning_rate: float | None = None


# Called after every epoch; True asks the trial to end now.
Report = Callable[[EpochRecord], bool]


@dataclass(frozen=True)
class PhaseSummary:
    """Length of one phase.

    Attributes:
        epochs: that the weights were trained for.
        seconds: that it took in this trial.
        reused: whether an earlier trial had trained the same already.

    """

    epochs: int
    seconds: float
    reused: bool = False


@dataclass(frozen=True)
class TrialResult:
    """The outcome of one trial, as ``result.json`` holds it (contract).

    Attributes:
        val_accuracy: share of validation images classified correctly.
        validation: headline metrics of the validation side.
        test: the same of the test side, or None where there is none.
        objective: value of the configured objective.
        reason: why it ended before its epochs were over, or empty.

    """

    state: State
    val_accuracy: float
    validation: dict[str, float]
    test: dict[str, float] | None
    phases: dict[str, PhaseSummary]
    n_layers: int
    delimiting_layer: int
    trainable_parameters: int
    seconds: float
    objective: float
    reason: str = ""
    epochs: int = field(default=0)

    def as_dict(self) -> dict[str, Any]:
        """Return plain containers, for JSON."""
        return asdict(self)


# Called with what a trial came to; True asks for its model to be kept.
KeepModel = Callable[[TrialResult], bool]
