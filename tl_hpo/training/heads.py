"""Trained classification blocks, kept so that none is trained twice."""

import json
import logging
import shutil
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from tl_hpo.files import replacing, write_json
from tl_hpo.tensors import save_tensors
from tl_hpo.training.callbacks import Predictions
from tl_hpo.training.phases import PhaseOutcome
from tl_hpo.training.result import EpochRecord, PhaseSummary

logger = logging.getLogger(__name__)

_TENSORS = "head.safetensors"
_RECORD = "phase.json"


class HeadStore:
    """Keeps what head phases ended with, in a folder that experiments may share.

    Args:
        folder: of all blocks, a folder each.

    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def load(self, key: str, head: nn.Linear) -> PhaseOutcome | None:
        """Put the block kept under ``key`` into ``head`` and return what its phase came to.

        None where there is none, or one of an earlier version, which kept less; a damaged one is
        removed.
        """
        path = self.folder / key
        try:
            record = json.loads((path / _RECORD).read_text(encoding="utf-8"))
            tensors = load_file(path / _TENSORS)
            if "scores" not in tensors:
                return None
            outcome = _outcome(record, tensors)
            head.load_state_dict({name: tensors[name] for name in ("weight", "bias")})
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
            logger.warning("The block in %s is damaged (%s) and trained again", path, error)
            shutil.rmtree(path, ignore_errors=True)
            return None
        return outcome

    def save(self, key: str, head: nn.Linear, outcome: PhaseOutcome) -> None:
        """Keep ``head`` and what its phase came to; a disk that is full keeps nothing."""
        tensors = dict(head.state_dict())
        tensors |= {n: v for n, v in asdict(outcome.predictions).items() if v is not None}
        record = {
            "summary": asdict(outcome.summary),
            "records": [asdict(each) for each in outcome.records],
        }
        try:
            with replacing(self.folder / key) as temporary:
                temporary.mkdir(parents=True)
                save_tensors(tensors, temporary / _TENSORS)
                write_json(temporary / _RECORD, record)
        except (OSError, SafetensorError) as error:
            logger.warning("The trained block cannot be kept in %s (%s)", self.folder, error)


def _outcome(record: dict[str, Any], tensors: dict[str, torch.Tensor]) -> PhaseOutcome:
    # Blocks kept by earlier versions lack the step, which is the epoch in the head phase.
    records = tuple(EpochRecord(**{"step": each["epoch"], **each}) for each in record["records"])
    predictions = Predictions(*(tensors[field.name] for field in fields(Predictions)))
    summary = PhaseSummary(record["summary"]["epochs"], 0.0, reused=True)
    return PhaseOutcome(summary, records, predictions, reason="")
