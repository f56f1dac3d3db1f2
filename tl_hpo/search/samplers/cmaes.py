"""Optuna's CMA-ES, which keeps its state in the trials, pickled: read here without running code."""

import io
import pickle
from typing import Any

from optuna.samplers import CmaEsSampler
from optuna.trial import FrozenTrial

from tl_hpo.errors import UserError

_NUMPY = ("numpy.core", "numpy._core")  # the name depends on its version
# What the state is made of.
_KNOWN = {
    ("cmaes._cma", "CMA"),
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    *((f"{core}.multiarray", "_reconstruct") for core in _NUMPY),
    *((f"{core}.multiarray", "scalar") for core in _NUMPY),
    *((f"{core}.numeric", "_frombuffer") for core in _NUMPY),
}


class SafeCmaEsSampler(CmaEsSampler):
    """Takes nothing but an optimizer's state from a storage, which may be somebody else's."""

    def _restore_optimizer(self, completed_trials: list[FrozenTrial]) -> Any:
        for trial in reversed(completed_trials):
            attributes = trial.system_attrs.items()
            kept = {k: v for k, v in attributes if k.startswith(self._attr_key_optimizer)}
            if kept:
                state = bytes.fromhex(self._concat_optimizer_attrs(kept))
                return _Unpickler(io.BytesIO(state)).load()
        return None


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _KNOWN:
            raise UserError(
                f"the study of sampler=cmaes must hold its state alone, got {module}.{name}; "
                "take no run folder or database of strangers, or another sampler."
            )
        return super().find_class(module, name)
