from dataclasses import replace

import pytest

from tl_hpo.reporting.importance import by_step, name_of, section
from tl_hpo.reporting.records import Importance, read_run
from tl_hpo.search.importance import write_importance

SHARES = {"shared": {"optimizer.lr": 0.75, "model": 0.25}, "layer": {"x|y": 0.9, "z": 0.1}}


@pytest.mark.parametrize(
    ("parameter", "name"),
    [
        ("model", "model"),
        ("optimizer", "optimizer"),
        ("optimizer.lr", "learning rate"),
        ("optimizer@head.optimizer", "optimizer (classification block)"),
        ("head.optimizer.lr", "learning rate (classification block)"),
        ("optimizer@finetune.optimizer", "optimizer (fine-tuning)"),
        ("finetune.optimizer.lr", "learning rate (fine-tuning)"),
        ("finetune.optimizer.weight_decay", "weight decay (fine-tuning)"),
        ("head.epochs", "epochs (classification block)"),
        ("delimiting_layer", "delimiting layer"),
        ("batch_size", "batch size"),
    ],
)
def test_parameters_have_names_in_words(parameter, name):
    assert name_of(parameter) == name


@pytest.fixture
def run(fake_run):
    folder = fake_run()
    write_importance(folder / "importance.csv", SHARES)
    return read_run(folder)


def test_what_the_search_wrote_is_read_again(run):
    told = {
        step: {row.parameter: row.importance for row in rows}
        for step, rows in by_step(run.importances).items()
    }
    assert told == SHARES
    assert [row.rank for row in run.importances] == [1, 2, 1, 2]


def test_section_tells_shares_and_from_how_many_trials(run):
    text = "\n".join(section(run))
    assert "| learning rate | shared | 75% | 4 |" in text
    assert "| x\\|y | layer | 90% | 4 |" in text
    assert "so few trials are rough" in text


def test_many_trials_are_not_called_few(run):
    many = replace(run, trials=[replace(t, state="COMPLETE", val_accuracy=0.5) for t in run.trials])
    assert "rough" not in "\n".join(section(replace(many, trials=many.trials * 10)))


def test_rows_of_any_order_are_ranked(run):
    rows = [Importance("a", "low", 0.2, 2), Importance("b", "x", 1, 1), Importance("a", "up", 1, 1)]
    assert {s: [r.parameter for r in own] for s, own in by_step(rows).items()} == {
        "a": ["up", "low"],
        "b": ["x"],
    }


def test_nothing_is_said_without_the_file(fake_run):
    assert section(read_run(fake_run())) == []


@pytest.mark.parametrize(
    ("n_trials", "words"),
    [
        (3, "too few trials: at least 4 with an accuracy in a step, got 3."),
        (5, "no step has searched two hyperparameters or more"),
    ],
)
def test_why_a_search_that_ended_has_no_shares_is_said(fake_run, n_trials, words):
    folder = fake_run(n_trials=n_trials)
    write_importance(folder / "importance.csv", {})
    heading, why = section(read_run(folder))
    assert heading == "## What mattered"
    assert words in why
