"""Overrides that the trials of a study keep: settings alone, whoever wrote the study.

What they say is composed and run again, by a later step, by repeats and for the test side; a run
folder or a database may come from somebody else.
"""

import re

from optuna.trial import FrozenTrial

from tl_hpo.errors import UserError
from tl_hpo.overrides import override
from tl_hpo.search.plan import Plan

_NAMES_CODE_OR_READS = re.compile(r"_target_|\$\{|^[+~]*hydra\b")
_CHOOSES_A_PATH = re.compile(r"[+]*[\w@]+(@[\w.]+)?=.*[/\\]")  # of a group: a file outside of conf/


def stored_overrides(trial: FrozenTrial, key: str, plan: Plan) -> list[str]:
    """Return the overrides in an attribute of a trial.

    Raises:
        UserError: one that the experiment does not say itself is more than a setting.

    """
    found = trial.user_attrs[key]
    steps = (step.overrides.items() for step in plan.strategy.steps)
    own = {*plan.overrides, *(override(*each) for items in steps for each in items)}
    for text in found:
        if text not in own and (_NAMES_CODE_OR_READS.search(text) or _CHOOSES_A_PATH.match(text)):
            raise UserError(
                f"a trial of a study must hold settings alone, got {text!r} in trial "
                f"{trial.number}; take no run folder or database of strangers, or set name=OTHER "
                "for an experiment of your own."
            )
    return list(found)
