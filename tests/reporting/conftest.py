"""A realistic run folder, written by hand as optimize.py would."""

from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from PIL import Image

from tl_hpo.data.audit.records import (
    AT_CHANCE,
    SUSPICIOUS,
    UNTESTED,
    Audit,
    Duplicates,
    Leak,
    Member,
    OwnGroups,
    Pair,
    Shortcut,
)
from tl_hpo.files import write_csv, write_json
from tl_hpo.training.metrics import confusion_matrix, headline, per_class, summarise

NAMES = ("dyed-lifted-polyps", "esophagitis", "normal-z-line", "polyps", "ulcerative-colitis")
PER_CLASS = 4
NOTHING = Duplicates(0, 0, 1, 0, 0, {"validation": Leak(30, 0)}, ())
ONE, OTHER = Member("a/1_x.png", "a", "train"), Member("b/2.png", "b", "validation")


class FakeRun:
    """Writes the files of one run folder from a seed."""

    def __init__(self, folder, classes=NAMES, n_trials=5, steps=("shared", "layer"), seed=0):
        self.folder = folder
        self.root = folder.parent.parent.parent / "images"
        self.classes = list(classes)
        self.n_trials = n_trials
        self.steps = steps
        self.rng = np.random.default_rng(seed)

    def write(
        self,
        dataset="kvasir",
        synthetic=False,
        perfect=False,
        sizes=(32, 24),
        images=True,
        tested=False,
    ):
        self.folder.mkdir(parents=True)
        experiment = {
            "dataset": dataset,
            "dataset_root": str(self.root),
            "strategy": self.folder.name,
            "synthetic": synthetic,
            "classes": self.classes,
        }
        write_json(self.folder / "experiment.json", experiment)
        if images:
            self._images(sizes)
        self._trials()
        self._model(perfect, tested)
        return self.folder

    def _images(self, sizes):
        for index, name in enumerate(self.classes):
            (self.root / name).mkdir(parents=True, exist_ok=True)
            for number in range(PER_CLASS):
                pixels = self.rng.normal(90, 25, (sizes[1], sizes[0], 3))
                pixels += 80 * np.array([1, index % 3 / 2, index % 5 / 4])
                image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
                image.save(self.root / name / f"{number:03}.png")

    def _paths(self):
        return [(f"{name}/{n:03}.png", name) for name in self.classes for n in range(PER_CLASS)]

    def _trials(self):
        trials, curves, clock = [], [], 0.0
        for step in self.steps:
            for number in range(self.n_trials):
                state = ("COMPLETE", "COMPLETE", "PRUNED", "COMPLETE", "FAIL")[number % 5]
                level = self.rng.uniform(0.55, 0.93) if state == "COMPLETE" else 0.45
                begun = clock
                for phase, epochs in (("head", 3), ("finetune", 6 if state == "COMPLETE" else 2)):
                    for epoch in range(1, epochs + 1):
                        clock += self.rng.uniform(20, 60)
                        share = 0.7 if phase == "head" else 1.0
                        value = level * share * (1 - 0.5 * np.exp(-epoch / 2))
                        curves.append(self._epoch(step, number, phase, epoch, value, clock))
                trials.append(self._trial(step, number, state, level, clock - begun))
        write_csv(self.folder / "trials.csv", list(trials[0]), trials)
        write_csv(self.folder / "curves.csv", list(curves[0]), curves)
        self.best = max((t for t in trials if t["val_accuracy"]), key=lambda t: t["val_accuracy"])

    def _epoch(self, step, number, phase, epoch, value, clock):
        return {
            "step": step,
            "number": number,
            "phase": phase,
            "epoch": epoch,
            "train_loss": 1 - value,
            "val_loss": "nan" if epoch == 2 else 1.1 - value,
            "val_accuracy": value,
            "elapsed_seconds": clock,
        }

    def _trial(self, step, number, state, level, seconds):
        rate = 10 ** self.rng.uniform(-4, 0)
        return {
            "step": step,
            "number": number,
            "state": state,
            "model": self.rng.choice(["densenet121", "resnet50", "vgg16"]),
            "head_optimizer": "adam",
            "head_lr": rate,
            "finetune_optimizer": self.rng.choice(["adam", "sgd", "adadelta"]),
            "finetune_lr": rate,
            "delimiting_layer": int(self.rng.integers(0, 428)),
            "n_layers": 427,
            "val_accuracy": None if state == "FAIL" else level,
            "epochs": 9,
            "seconds": seconds,
            "started": "2025-01-01T00:00:00",
            "reason": "out of memory" if state == "FAIL" else "",
        }

    def _model(self, perfect, tested):
        paths, count = self._paths(), len(self.classes)
        target = torch.arange(count).repeat_interleave(PER_CLASS)
        wrong = self.rng.random(len(paths)) < (0.0 if perfect else 0.4)
        predicted = torch.where(torch.from_numpy(wrong), (target + 1) % count, target)
        summary = summarise(predicted, target, count)
        metrics = {
            "validation": summary,
            "per_class": [asdict(row) for row in per_class(predicted, target, count)],
            "confusion": confusion_matrix(predicted, target, count).tolist(),
            "test": None,
        }
        if tested:
            metrics |= self._tested(summary, predicted, target)
        write_json(self.folder / "best_model" / "metrics.json", metrics)
        write_json(self.folder / "best_model" / "labels.json", self.classes)
        split = [{"path": p, "label": name, "side": "validation", "group": ""} for p, name in paths]
        write_csv(self.folder / "split.csv", list(split[0]), split)
        rows = [
            {
                "path": path,
                "label": name,
                "predicted": self.classes[index],
                "confidence": self.rng.uniform(0.4, 1),
                "side": "validation",
            }
            for (path, name), index in zip(paths, predicted.tolist(), strict=True)
        ]
        write_csv(self.folder / "predictions.csv", list(rows[0]), rows)
        self._best(summary, metrics["test"])

    def _tested(self, summary, predicted, target):
        """Measure a test side on which one image more of each class is mistaken."""
        count = len(self.classes)
        worse = predicted.clone()
        worse[::PER_CLASS] = (target[::PER_CLASS] + 1) % count
        test = headline(summarise(worse, target, count))
        around = {name: [value - 0.1, value + 0.1] for name, value in test.items()}
        return {
            "test": test,
            "test_side": {
                "per_class": [asdict(row) for row in per_class(worse, target, count)],
                "confusion": confusion_matrix(worse, target, count).tolist(),
            },
            "intervals": {
                "validation": {name: [summary[name] - 0.1, summary[name] + 0.1] for name in test},
                "test": around,
                "difference": {name: [test[name] - summary[name] - 0.2, -0.01] for name in test},
            },
            "groups": {"validation": 15, "test": 12},
        }

    def _best(self, summary, test):
        best = {
            "strategy": self.folder.name,
            "step": self.best["step"],
            "number": self.best["number"],
            "overrides": ["model=vgg16", "optimizer=adam", "search.models=[a,b]"],
            "val_accuracy": self.best["val_accuracy"],
            "validation": headline(summary),
            "test": test,
            "search_seconds": 1234.5,
        }
        write_json(self.folder / "best.json", best)


@pytest.fixture
def fake_run(tmp_path):
    """Return a function that writes ``runs/<dataset>/<strategy>`` and returns the folder."""

    def write(strategy="shared", dataset="kvasir", **options):
        own = ("classes", "n_trials", "steps", "seed")
        how = {name: options.pop(name) for name in own if name in options}
        run = FakeRun(tmp_path / "runs" / dataset / strategy, **how)
        return run.write(dataset=dataset, **options)

    return write


@pytest.fixture
def coarse(monkeypatch):
    """Draw few pixels: what is tested does not depend on the resolution."""
    monkeypatch.setattr("tl_hpo.reporting.figures.style.DPI", 30)


@pytest.fixture
def instant(monkeypatch):
    """Build figures but render none: for tests of which files are written."""

    def save(_, path):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"PNG")
        path.with_suffix(".svg").write_bytes(b"SVG")

    monkeypatch.setattr("tl_hpo.reporting.figures.style.save", save)


@pytest.fixture
def clean_audit():
    return Audit(
        dataset="some",
        synthetic=False,
        images=100,
        unreadable=0,
        classes={"a": 60, "b": 40},
        sides={"train": 70, "validation": 30, "test": 0},
        exact=NOTHING,
        near=NOTHING,
        own=None,
        shortcuts=(Shortcut("size", AT_CHANCE, 100, 0.5, 0.6, 0.5, 0.5),),
        pairs=(),
    )


@pytest.fixture
def bad_audit(clean_audit):
    """Return an audit in which everything is wrong."""
    leaks = {"validation": Leak(30, 12)}
    return replace(
        clean_audit,
        unreadable=2,
        exact=Duplicates(11, 25, 3, 2, 11, {"validation": Leak(30, 1)}, ((ONE, OTHER),) * 10),
        near=Duplicates(12, 40, 9, 8, 1, leaks, ((ONE, OTHER),)),
        own=OwnGroups(20, 5, leaks),
        shortcuts=(
            Shortcut("border", SUSPICIOUS, 90, 0.91, 0.6, 0.9, 0.5, "left out for a reason: c_d"),
            Shortcut("overlay", UNTESTED, 0),
        ),
        pairs=(Pair(ONE, OTHER, 0, True), Pair(ONE, OTHER, 17, False)),
        pairs_complete=False,
    )
