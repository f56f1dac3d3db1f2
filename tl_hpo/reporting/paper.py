"""What the paper published on Kvasir and Nerthus, as data, beside our own figures."""

from collections.abc import Mapping
from dataclasses import dataclass

PAPER = "Borgli et al. 2019"
KVASIR_PAPER = "Kvasir dataset paper, Pogorelov et al. 2017"
NERTHUS_PAPER = "Nerthus dataset paper, Pogorelov et al. 2017"

ACCURACY = "accuracy"
ACCURACY_BEFORE = "accuracy before the layer step"
F1 = "f1"

PROTOCOL = (
    "The figures of Borgli et al. are of the validation side of a random 70/30 split, which their "
    "search was tuned on; frames of one video may lie on both sides. Compare validation figures of "
    "a random split only."
)


@dataclass(frozen=True)
class Published:
    """A published figure; ``strategy`` is empty where the source names none."""

    quantity: str
    value: float
    source: str
    strategy: str = ""
    method: str = ""


@dataclass(frozen=True)
class Achieved:
    """The validation figures of one of our experiments; ``before_layers`` without layer step."""

    accuracy: float
    f1: float | None = None
    before_layers: float | None = None


@dataclass(frozen=True)
class Comparison:
    """A row of the table beside the paper; ``ours`` is ``None`` where we ran no such thing."""

    figure: str
    published: float
    ours: float | None
    source: str


PUBLISHED: Mapping[str, tuple[Published, ...]] = {
    "kvasir": (
        Published(ACCURACY_BEFORE, 0.86, PAPER, strategy="shared"),
        Published(ACCURACY, 0.89, PAPER, strategy="shared"),
        Published(ACCURACY, 0.63, PAPER, strategy="separate"),
        Published(ACCURACY, 0.54, PAPER, strategy="separate_steps"),
        Published(F1, 0.88, PAPER, method="best configuration"),
        Published(F1, 0.75, KVASIR_PAPER, method="hand-crafted features"),
        Published(F1, 0.69, KVASIR_PAPER, method="InceptionV3"),
    ),
    "nerthus": (
        Published(ACCURACY_BEFORE, 0.99, PAPER, method="best configuration"),
        Published(ACCURACY, 1.00, PAPER, method="best configuration"),
        Published(F1, 0.90, NERTHUS_PAPER, method="best of the dataset paper"),
        Published(F1, 0.75, NERTHUS_PAPER, method="InceptionV3"),
    ),
}

BEST_CONFIGURATION: Mapping[str, str] = {
    "kvasir": "InceptionResNetV2, Adadelta, learning rate 0.84, delimiting layer 136 "
    "(slides of the authors); 176 esophagitis images were taken for normal-z-line, 3 the other "
    "way round",
}


def comparison_table(
    dataset: str, achieved: Mapping[str, Achieved], strategy: str
) -> list[Comparison]:
    """Return the published figures beside ours, an empty list for a dataset not in the paper.

    Args:
        dataset: name of the dataset; ``kvasir`` and ``nerthus`` have published figures.
        achieved: our figures by strategy name.
        strategy: the strategy that is set beside figures whose source names none.

    """
    return [
        Comparison(
            figure=_describe(figure),
            published=figure.value,
            ours=_value(achieved.get(figure.strategy or strategy), figure.quantity),
            source=figure.source,
        )
        for figure in PUBLISHED.get(dataset, ())
    ]


def _describe(figure: Published) -> str:
    how = figure.method or f"strategy {figure.strategy}"
    return f"{'F1' if figure.quantity == F1 else 'validation ' + figure.quantity}, {how}"


def _value(achieved: Achieved | None, quantity: str) -> float | None:
    if achieved is None:
        return None
    if quantity == ACCURACY:
        return achieved.accuracy
    return achieved.f1 if quantity == F1 else achieved.before_layers
