"""What samplers share that propose a whole point of one known space."""

import zlib
from collections.abc import Mapping
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import Study
from optuna.trial import FrozenTrial

from tl_hpo.search.samplers import ask_seed
from tl_hpo.search.samplers.axes import searched


class SpaceSampler(BaseSampler):
    """Proposes all parameters of a space together; subclasses say how, in `sample_relative`.

    Args:
        space: distributions by parameter name.
        seed: of the search, not negative.

    """

    def __init__(self, space: Mapping[str, BaseDistribution], seed: int) -> None:
        self.space = searched(space)
        self.seed = seed

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return the space without its single-valued parameters."""
        return dict(self.space)

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Draw a parameter that is outside the space at random; another seed for every name."""
        seed = ask_seed(self.seed + zlib.crc32(param_name.encode()), trial.number)
        random = RandomSampler(seed=seed)
        return random.sample_independent(study, trial, param_name, param_distribution)
