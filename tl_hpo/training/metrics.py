"""The paper's metrics, per class and averaged.

Notation, with C classes and n images:

| symbol | meaning | shape |
|---|---|---|
| predicted, target | class indices in 0..C-1 | (n,) |
| confusion | images of class row that were predicted as class column | (C, C) |
| tp, fp, fn, tn | counts of one class against the rest | (C,) |

torchmetrics counts, on the device of its inputs, so that only C x C numbers leave it. The ratios
are taken here, in float64: torchmetrics rounds them to float32 (0.95 would be reported as
0.949999988) and gives some undefined correlation coefficients 1 or -1. Every ratio with a zero
denominator is 0, as in scikit-learn with ``zero_division=0``.
"""

from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass

import torch
from torch import Tensor
from torchmetrics.functional.classification import multiclass_confusion_matrix

HEADLINE = ("accuracy", "f1", "mcc", "precision", "recall", "specificity")
"""The keys of ``validation`` and ``test`` in best.json and result.json."""


@dataclass(frozen=True)
class ClassMetrics:
    """One class against the rest; the counts are whole unless averaged over classes.

    ``accuracy`` is (tp + tn) / n, ``mcc`` the binary Matthews correlation coefficient.
    """

    tn: float
    fn: float
    fp: float
    tp: float
    f1: float
    accuracy: float
    mcc: float
    precision: float
    recall: float
    specificity: float

    @property
    def occurs(self) -> bool:
        """Whether any image has or was given this class; averages leave out the others."""
        return self.tp + self.fn + self.fp > 0


def confusion_matrix(predicted: Tensor, target: Tensor, n_classes: int) -> Tensor:
    """Return the (C, C) counts of images, rows true classes, on the device of the inputs.

    ``predicted`` and ``target`` are (n,) class indices on one device, n may be 0; ``n_classes``
    is C, at least 2.
    """
    return multiclass_confusion_matrix(predicted, target, num_classes=n_classes)


def per_class(predicted: Tensor, target: Tensor, n_classes: int) -> list[ClassMetrics]:
    """Return the metrics of each class, in index order; arguments as `confusion_matrix`."""
    return per_class_of(confusion_matrix(predicted, target, n_classes))


def summarise(predicted: Tensor, target: Tensor, n_classes: int) -> dict[str, float]:
    """Return the metrics over all classes; arguments as `confusion_matrix`, result as below."""
    return summary_of(confusion_matrix(predicted, target, n_classes))


def per_class_of(confusion: Tensor) -> list[ClassMetrics]:
    """Return the metrics of each class of a (C, C) confusion matrix, in index order."""
    counts = torch.stack(_against_rest(confusion), dim=1).long()
    ratios = torch.stack(list(_ratios(confusion).values()), dim=1)
    return [
        ClassMetrics(*count, *ratio)
        for count, ratio in zip(counts.tolist(), ratios.tolist(), strict=True)
    ]


def summary_of(confusion: Tensor) -> dict[str, float]:
    """Return the metrics over all classes of a (C, C) confusion matrix, see `summaries_of`."""
    return {name: value.item() for name, value in summaries_of(confusion).items()}


def summaries_of(confusion: Tensor) -> dict[str, Tensor]:
    """Return the metrics over all classes of confusion matrices (..., C, C), each (...) float64.

    ``accuracy`` is the share of correct images; ``balanced_accuracy`` the mean recall of the
    classes that occur as target; ``mcc`` the multiclass R_K of Gorodkin (2004); ``f1``,
    ``precision``, ``recall`` and ``specificity`` are means over the classes that occur as target
    or prediction.
    """
    counts = confusion.cpu().double()
    _, fn, fp, tp = _against_rest(counts)
    ratios, occurs = _ratios(counts), tp + fn + fp > 0
    return {
        "accuracy": _ratio(tp.sum(-1), counts.sum((-2, -1))),
        "balanced_accuracy": _mean_where(ratios["recall"], tp + fn > 0),
        "f1": _mean_where(ratios["f1"], occurs),
        "mcc": _correlation(counts),
        "precision": _mean_where(ratios["precision"], occurs),
        "recall": _mean_where(ratios["recall"], occurs),
        "specificity": _mean_where(ratios["specificity"], occurs),
    }


def headline(summary: dict[str, float]) -> dict[str, float]:
    """Return the figures of a summary that best.json and result.json hold."""
    return {name: summary[name] for name in HEADLINE}


def averages(classes: Sequence[ClassMetrics]) -> ClassMetrics:
    """Return the means over the classes that occur: the average row of the paper's tables.

    Its ``accuracy`` is the mean one-against-rest accuracy, higher than the share of correct
    images; its ``mcc`` is the mean binary coefficient, not R_K.
    """
    occurring = [astuple(row) for row in classes if row.occurs]
    if not occurring:
        return ClassMetrics(*[0.0] * len(ClassMetrics.__dataclass_fields__))
    return ClassMetrics(*(_mean(column) for column in zip(*occurring, strict=True)))


def _against_rest(confusion: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return tn, fn, fp, tp, each (..., C) float64 on the host: some devices have no float64."""
    counts = confusion.cpu().double()
    tp = counts.diagonal(dim1=-2, dim2=-1)
    fn = counts.sum(dim=-1) - tp
    fp = counts.sum(dim=-2) - tp
    return counts.sum((-2, -1)).unsqueeze(-1) - tp - fn - fp, fn, fp, tp


def _ratios(confusion: Tensor) -> dict[str, Tensor]:
    """Return the ratios of `ClassMetrics` in its order, each (..., C)."""
    tn, fn, fp, tp = _against_rest(confusion)
    return {
        "f1": _ratio(2 * tp, 2 * tp + fp + fn),
        "accuracy": _ratio(tp + tn, tp + tn + fp + fn),
        "mcc": _ratio(tp * tn - fp * fn, _root((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))),
        "precision": _ratio(tp, tp + fp),
        "recall": _ratio(tp, tp + fn),
        "specificity": _ratio(tn, tn + fp),
    }


def _correlation(counts: Tensor) -> Tensor:
    """Return R_K of float64 confusion matrices (..., C, C), 0 where it is undefined."""
    correct = counts.diagonal(dim1=-2, dim2=-1).sum(-1)
    total, true, predicted = counts.sum((-2, -1)), counts.sum(dim=-1), counts.sum(dim=-2)
    spread = (total**2 - (predicted**2).sum(-1)) * (total**2 - (true**2).sum(-1))
    return _ratio(correct * total - (true * predicted).sum(-1), _root(spread))


def _root(value: Tensor) -> Tensor:
    """Return the square root of a product of counts, which rounding may leave below zero."""
    return value.clamp(min=0).sqrt()


def _ratio(numerator: Tensor, denominator: Tensor) -> Tensor:
    """Return the elementwise quotient, 0 where the denominator is 0."""
    defined = denominator > 0
    return torch.where(defined, numerator / denominator.where(defined, 1.0), 0.0)


def _mean_where(values: Tensor, kept: Tensor) -> Tensor:
    """Return the means of (..., C) over the classes that are ``kept``, 0 where none is."""
    return _ratio(torch.where(kept, values, 0.0).sum(-1), kept.sum(-1).double())


def _mean(values: Iterable[float]) -> float:
    """Return the mean, 0 for no values."""
    listed = list(values)
    return sum(listed) / len(listed) if listed else 0.0
