"""A study.db that somebody else has prepared."""

from dataclasses import replace

import pytest
from simulated import SimulatedRunner
from tampering import CALL, prepare

from tl_hpo.errors import UserError
from tl_hpo.search.repeats import Repeats


@pytest.mark.parametrize(
    "text",
    [
        f"+head.optimizer.more={CALL}",
        "head.optimizer._target_=os.system",
        "name=${oc.env:HOME}",
        "optimizer=../../../elsewhere/evil",
        "+optimizer@head.optimizer=/elsewhere/evil",
        "hydra.searchpath=[file://elsewhere]",
    ],
)
@pytest.mark.parametrize("key", ["overrides", "point"])
def test_what_its_trials_say_is_not_run_unless_it_is_settings(plan, run, key, text):
    p = plan("strategy=separate_steps")
    run(p, SimulatedRunner())
    prepare(p.folder, key, text)
    if key == "overrides":
        p = replace(p, repeats=Repeats(1, 1))
    else:
        steps = [replace(step, trials=step.trials + 1) for step in p.strategy.steps]
        p = replace(p, strategy=replace(p.strategy, steps=tuple(steps)))
    resumed = SimulatedRunner()
    with pytest.raises(UserError, match=r"must hold settings alone, got .*; take no run folder"):
        run(p, resumed)
    assert not any(text in asked for asked in resumed.asked)


def test_what_the_experiment_says_itself_is_run_again(plan, run):
    p = plan("strategy=shared")
    own = ["+head.optimizer._target_=mine.Own", "split.seed=${seed}"]
    p = replace(p, overrides=[*p.overrides, *own], repeats=Repeats(1, 1))
    runner = SimulatedRunner()
    run(p, runner)
    assert all(set(own) <= set(asked) for asked in runner.asked)
