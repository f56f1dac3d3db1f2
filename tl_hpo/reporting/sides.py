"""The metrics of the validation and the test side, and what lies between them, in words."""

from collections.abc import Iterator, Mapping, Sequence

from tl_hpo.reporting.markdown import plain, table
from tl_hpo.reporting.records import Best, ModelMetrics, Run
from tl_hpo.training.metrics import HEADLINE

TUNED_ON = (
    "There is no test side: the search chose its hyperparameters by these validation images, so "
    "its figures are optimistic for new images."
)
UNTESTED = (
    "The experiment has not ended: its test images are for its end, when the search has chosen. "
    "It chooses by these validation images, so their figures are optimistic for new images."
)
TESTED = (
    "The search chose its hyperparameters by the validation images and never saw the test images, "
    "on which the best model was measured once, at the end: the test figures are the ones to "
    "expect on new images."
)
INTERVALS = (
    "In brackets: 95 % bootstrap intervals, drawn by group ({groups}), since images of one group "
    "resemble each other; within each class, those of few groups together."
)
ONE_BY_ONE = (
    "In brackets: 95 % bootstrap intervals, drawn image by image; where images resemble each other "
    "they are too narrow."
)
FEW_GROUPS = 10  # below that a bootstrap is known to be too narrow
FEW = "With so few groups the intervals are rough and rather too narrow."


def section(run: Run, best: Best) -> list[str]:
    """Return paragraphs of Markdown on what the best model comes to."""
    return [
        _headline(best, run.metrics),
        *_difference(best, run.metrics),
        _about_test(run, best),
        _about_intervals(run.metrics),
    ]


def _about_test(run: Run, best: Best) -> str:
    if best.test is not None:
        return TESTED
    return UNTESTED if any(image.side == "test" for image in run.split) else TUNED_ON


def _headline(best: Best, metrics: ModelMetrics | None) -> str:
    """Return the metrics of both sides, side by side, and what lies between them."""
    validation = metrics.validation.intervals if metrics else {}
    if best.test is None:
        rows = [[n, with_interval(best.validation.get(n), validation.get(n))] for n in HEADLINE]
        return table(["metric", "validation"], rows)
    test = metrics.test.intervals if metrics and metrics.test else {}
    between = metrics.difference if metrics else {}
    rows = [
        [
            name,
            with_interval(best.validation.get(name), validation.get(name)),
            with_interval(best.test.get(name), test.get(name)),
            with_interval(_minus(best.test, best.validation, name), between.get(name), "+.4f"),
        ]
        for name in HEADLINE
    ]
    return table(["metric", "validation", "test", "test - validation"], rows)


def _minus(one: Mapping[str, float], other: Mapping[str, float], name: str) -> float | None:
    return one[name] - other[name] if name in one and name in other else None


def with_interval(value: float | None, bounds: Sequence[float] | None, form: str = ".4f") -> str:
    """Return a figure with its interval in brackets, where they are known."""
    if value is None:
        return ""
    between = f" [{bounds[0]:{form}}, {bounds[1]:{form}}]" if bounds else ""
    return f"{value:{form}}{between}"


def _difference(best: Best, metrics: ModelMetrics | None) -> list[str]:
    """Name what lies between the validation and the test accuracy."""
    gap = None if best.test is None else _minus(best.test, best.validation, "accuracy")
    if gap is None:
        return []
    points = f"{abs(gap) * 100:.1f} points"
    if points == "0.0 points":
        return ["Test and validation accuracy are the same."]
    bounds = (metrics.difference if metrics else {}).get("accuracy")
    chance = bounds is not None and bounds[0] <= 0 <= bounds[1]
    words = "below" if gap < 0 else "above"
    told = f"Test accuracy is {points} {words} validation accuracy"
    if chance:
        return [f"{told}, which chance alone could explain."]
    beyond = "more than chance explains" if bounds else "without intervals that tell chance"
    if gap < 0:
        return [f"{told}, {beyond}: tuning on the validation images has flattered them."]
    return [f"{told}, {beyond}: the test images are easier than those that it was tuned on."]


def _about_intervals(metrics: ModelMetrics | None) -> str:
    if metrics is None or not metrics.validation.intervals:
        return ""
    known = {name: side.groups for name, side in metrics.sides().items() if side.groups}
    groups = ", ".join(f"{number} on the {name} side" for name, number in known.items())
    if all(side.groups == sum(map(sum, side.confusion)) for side in metrics.sides().values()):
        return " ".join([ONE_BY_ONE, *_about_perfection(metrics)])
    told = [INTERVALS.format(groups=groups)]
    if min(known.values(), default=FEW_GROUPS) < FEW_GROUPS:
        told.append(FEW)
    told += _about_perfection(metrics)
    told += [
        f"Of {plain(', '.join(side.of_one_group))} there is one group alone on the {name} side: "
        "how other groups would do cannot be told from it."
        for name, side in metrics.sides().items()
        if side.of_one_group
    ]
    return " ".join(told)


def _about_perfection(metrics: ModelMetrics) -> Iterator[str]:
    """Say what an interval without width hides; of n without a mistake, by the rule of three."""
    for name, side in metrics.sides().items():
        bounds = side.intervals.get("accuracy")
        if bounds and tuple(bounds) == (1.0, 1.0):
            n = side.groups or sum(map(sum, side.confusion))
            yield (
                f"Where nothing is wrong the bootstrap has no width: after {n} of {n} right on the "
                f"{name} side, up to {min(3 / n, 1):.0%} of new ones may be wrong."
            )
