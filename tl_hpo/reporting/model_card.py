"""The model card of the best model, README.md in its folder, in the layout of Hugging Face.

Mitchell et al. (2019) proposed such cards; the front matter is what the hub's pages read.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from tl_hpo.files import write_text
from tl_hpo.models.plain import loading_lines
from tl_hpo.reporting import sides, tables, use
from tl_hpo.reporting.markdown import SYNTHETIC_MARKDOWN, plain, table
from tl_hpo.reporting.reading import unreadable
from tl_hpo.reporting.records import Run
from tl_hpo.reporting.settings import setting, settings_of
from tl_hpo.training.metrics import HEADLINE
from tl_hpo.training.result import BEST_MODEL
from tl_hpo.training.saved import DESCRIPTION_FILE, WEIGHTS_FILE, read_description

CARD = "README.md"
HUB_METRICS = {"mcc": "matthews_correlation"}  # the hub's names where they are others

METHOD = (
    "The search follows Borgli, Riegler, Stensland and Halvorsen, *Automatic Hyperparameter "
    "Optimization for Transfer Learning on Medical Image Datasets Using Bayesian Optimization*, "
    "ISMICT 2019: a new classification block is trained on a pre-trained network, then the layers "
    "from the delimiting layer on; Bayesian optimisation chooses model, optimizer, learning rate "
    "and delimiting layer."
)
INTENDED = (
    "For research: to classify images of the same kind as those it was trained on, from the same "
    "devices and protocol, into exactly these classes. It is **no medical device**, has no "
    "approval, and must not decide on anybody's diagnosis or treatment."
)
LIMITS = (
    "An image of none of these classes is given one of them all the same, perhaps with a high "
    "probability.",
    "Not tested: other hospitals, devices and patient groups than those of the images; drift over "
    "time; images that were altered on purpose; whether the figures differ between patients by "
    "age, sex or origin.",
    "A share of the images, not of the patients, is what the figures count.",
)
LICENSE = (
    "No license is set: add `license:` to the front matter. The terms of the training images and "
    "of the pre-trained weights may bind you."
)


def path_of(run: Run) -> Path:
    """Return where the card of a run lies."""
    return run.folder / BEST_MODEL / CARD


def is_possible(run: Run) -> bool:
    """Tell whether the run has a best model to describe."""
    described = run.folder / BEST_MODEL / DESCRIPTION_FILE
    return run.best is not None and described.is_file()


def write_card(run: Run, path: Path) -> None:
    """Write the card of the best model.

    Raises:
        UserError: a file of the run folder cannot be understood.

    """
    folder = run.folder / BEST_MODEL
    try:
        described = read_description(folder)
        code = _code(run, described)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise unreadable(folder / DESCRIPTION_FILE, error) from error
    assert run.best is not None
    sections = [
        _front_matter(run, described),
        f"# {plain(run.experiment.dataset)}: {plain(described['trial']['model']['name'])}",
        SYNTHETIC_MARKDOWN if run.experiment.synthetic else "",
        _what(run, described),
        "## Load it",
        *code,
        "## Data",
        *_data(run),
        "## Metrics",
        *sides.section(run, run.best),
        *use.calibration(run),
        *use.speed(run),
        "## Intended use and limits",
        INTENDED,
        "\n".join(f"- {limit}" for limit in LIMITS),
        LICENSE,
        *tables.split(run, named=False),
        "## How it was found",
        *_found(run, described),
    ]
    write_text(path, "\n\n".join(section for section in sections if section) + "\n")


def _front_matter(run: Run, described: Mapping[str, Any]) -> str:
    model, experiment = described["trial"]["model"], run.experiment
    tags = ["image-classification", "timm", "transfer-learning", "hyperparameter-optimization"]
    told = {
        "library_name": "timm",
        "pipeline_tag": "image-classification",
        "tags": [*tags, *(["synthetic"] if experiment.synthetic else ["medical"])],
        "metrics": [HUB_METRICS.get(name, name) for name in HEADLINE],
        "model-index": [
            {
                "name": f"{experiment.dataset}-{model['name']}",
                "results": list(_results(run)),
            }
        ],
    }
    return f"---\n{yaml.safe_dump(told, sort_keys=False, allow_unicode=True)}---"


def _results(run: Run) -> Iterator[dict[str, Any]]:
    """Yield the metrics of every side, the test side first: it is the one to expect."""
    assert run.best is not None
    for side, values in (("test", run.best.test), ("validation", run.best.validation)):
        if values is None:
            continue
        dataset = {"name": run.experiment.dataset, "type": run.experiment.dataset, "split": side}
        metrics = [
            {"type": HUB_METRICS.get(name, name), "name": f"{name}, {side}", "value": values[name]}
            for name in HEADLINE
            if name in values
        ]
        task = {"type": "image-classification", "name": "Image classification"}
        yield {"task": task, "dataset": dataset, "metrics": metrics}


def _what(run: Run, described: Mapping[str, Any]) -> str:
    classes, weights = run.experiment.classes, _weights(described)
    begun = "that starts from random weights" if weights == "random" else "with pre-trained weights"
    names = ", ".join(plain(name) for name in classes)
    return f"A network {begun}, trained to tell {len(classes)} classes apart: {names}."


def _code(run: Run, described: Mapping[str, Any]) -> list[str]:
    """Return how the model is loaded, and what it takes and gives."""
    taken, trial = described["input"], described["trial"]
    size = (int(taken["height"]), int(taken["width"]))
    lines = loading_lines(trial["model"]["name"], size, len(run.experiment.classes), WEIGHTS_FILE)
    views = bool((trial.get("augment") or {}).get("test_time"))
    averaged = (
        " The figures below are of the mean over the views of an image, which this does not take."
        if views
        else ""
    )
    return [
        "```python\n" + "\n".join(lines) + "\n```",
        f"In this folder. It takes float images [batch, 3, {size[0]}, {size[1]}]: RGB, squashed to "
        f"that size, divided by 255, less the mean {tuple(taken['mean'])}, over the standard "
        f"deviation {tuple(taken['std'])}; it gives logits in the order of labels.json. Over the "
        "temperature of calibration.json they make calibrated probabilities by softmax; `python "
        f"predict.py` of tl\\_hpo does all that.{averaged}",
    ]


def _data(run: Run) -> list[str]:
    """Return how many images of each class every side has."""
    names = [side for side in ("train", "validation", "test") if _count(run, side)]
    if not names:
        return [f"{plain(run.experiment.dataset)}."]
    rows = [
        [plain(label), *(str(_count(run, side, label)) for side in names)]
        for label in run.experiment.classes
    ]
    rows.append(["all", *(str(_count(run, side)) for side in names)])
    return [f"{plain(run.experiment.dataset)}, images:", table(["class", *names], rows)]


def _count(run: Run, side: str, label: str | None = None) -> int:
    return sum(row.side == side and (label is None or row.label == label) for row in run.split)


def _found(run: Run, described: Mapping[str, Any]) -> list[str]:
    assert run.best is not None
    best, trial = run.best, run.best_trial
    sampler = setting(settings_of(run), "sampler.name")
    by = f", proposed by {plain(str(sampler))}" if sampler else ""
    finished = sum(trial.scored for trial in run.searched)
    return [
        f"Strategy {plain(best.strategy)}: {len(run.searched)} trials{by}, of which {finished} "
        f"ended with a score; trial {best.number} of step {plain(best.step)} was the best.",
        plain(tables.in_words(trial)) if trial else "",
        f"It started from the weights {plain(_weights(described))}.",
        METHOD,
    ]


def _weights(described: Mapping[str, Any]) -> str:
    """Return the name of the weights; of a file without its folder, which is nobody's business."""
    return Path(str(described["trial"]["model"]["weights"])).name
