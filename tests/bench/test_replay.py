"""Replays of searches on a made-up table, and the statistics over them."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.interpolate import RegularGridInterpolator

from bench import regret
from bench.replay import Chosen, TableRunner, compose_search, replay
from bench.replay_runs import SEARCHES, Runs
from bench.replay_table import BEST, NEAREST, OWN, Table, between
from bench.searches import main
from bench.searches_tables import depth_curves
from tl_hpo.errors import UserError

MODELS, OPTIMIZERS = ("net_a", "net_b"), ("adam", "sgd")
RATES, DEPTHS = (1e-4, 1e-2, 1.0), (0.0, 0.5, 1.0)
LOST = ("net_b", "sgd", 1.0)  # its head phase diverges: nothing is fine-tuned from it


def made_up():
    """Return rows in which every epoch of every trial differs, of curves of different lengths."""
    rng, rows = np.random.default_rng(0), []

    def phase(model, optimizer, lr, start, depth, name, low):
        for epoch in range(1, int(rng.integers(2, 6)) + 1):
            validation, test, seconds = rng.uniform([low, low, 0.1], [low + 0.3, low + 0.3, 2.0])
            rows.append(
                (model, optimizer, lr, start, depth, name, epoch, validation, test, seconds)
            )

    for model in MODELS:
        for optimizer in OPTIMIZERS:
            for lr in RATES:
                phase(model, optimizer, lr, OWN, 1.0, "head", 0.3 if lr == 1.0 else 0.5)
                for depth in DEPTHS:
                    if (model, optimizer, lr) != LOST:
                        phase(model, optimizer, lr, OWN, depth, "finetune", 0.6)
                    if lr == 1.0:
                        phase(model, optimizer, lr, BEST, depth, "finetune", 0.65)
    columns = [
        *("model", "optimizer", "lr", "start", "depth"),
        *("phase", "epoch", "validation", "test", "seconds"),
    ]
    return pd.DataFrame(rows, columns=columns)


ROWS = made_up()


@pytest.fixture(scope="module")
def table():
    return Table(ROWS, {"layers": {"net_a": 10}, "majority_share": 0.25})


def recorded(model, optimizer, lr, phase, start=OWN, depth=1.0):
    wanted = {"model": model, "optimizer": optimizer, "lr": lr, "phase": phase}
    wanted |= {"start": start, "depth": depth}
    return ROWS[(ROWS[list(wanted)] == pd.Series(wanted)).all(axis=1)]


def reached(rows):
    best = rows.loc[rows["validation"].idxmax()]
    return best["validation"], best["test"]


def run(runner, *overrides, report=lambda record: False, folder="trial"):
    result = runner.run(overrides, Path(folder), report, lambda result: False)
    return result, runner.trials[-1]


def shared(model, optimizer, lr, layer):
    chosen = ["model=timm", f"model.name={model}", f"optimizer={optimizer}"]
    return [*chosen, f"optimizer.lr={lr!r}", f"delimiting_layer={layer!r}"]


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("lr", RATES)
@pytest.mark.parametrize("depth", DEPTHS)
def test_a_recorded_trial_comes_back_epoch_by_epoch(table, model, optimizer, lr, depth):
    records = []
    runner = TableRunner(table)
    result, trial = run(runner, *shared(model, optimizer, lr, depth), report=records.append)
    head = recorded(model, optimizer, lr, "head")
    tuned = recorded(model, optimizer, lr, "finetune", OWN, depth)
    rows = pd.concat([head, tuned])
    assert [r.val_accuracy for r in records] == list(rows["validation"])
    assert [(r.phase, r.epoch) for r in records] == list(zip(rows.phase, rows.epoch, strict=True))
    assert [r.number for r in records] == list(range(1, len(rows) + 1))
    last = head if (model, optimizer, lr) == LOST else tuned
    assert (trial.validation, trial.test) == reached(last)
    assert trial.seconds == result.seconds == pytest.approx(rows["seconds"].sum())
    assert (result.state, result.epochs, result.test) == ("COMPLETE", len(rows), None)
    assert result.val_accuracy == result.objective == trial.validation


def test_an_integer_layer_is_a_share_of_the_models_layers(table):
    runner = TableRunner(table)
    by_number = run(runner, *shared("net_a", "adam", 1e-2, 5))
    by_share = run(runner, *shared("net_a", "adam", 1e-2, 0.5))
    assert by_number[1].validation == by_share[1].validation
    assert by_number[0].delimiting_layer == by_share[0].delimiting_layer == 5
    assert runner.count_layers(["model=timm", "model.name=net_a"]) == 10


def test_between_the_points_result_and_seconds_are_bilinear_in_log_rate_and_depth(table):
    runner, rng = TableRunner(table), np.random.default_rng(1)
    grid = np.empty((3, 3, 3))
    for i, lr in enumerate(RATES):
        for j, depth in enumerate(DEPTHS):
            _, each = run(runner, *shared("net_a", "sgd", lr, depth))
            grid[i, j] = each.validation, each.test, each.seconds
    expected = RegularGridInterpolator((np.log10(RATES), DEPTHS), grid)
    for _ in range(20):
        lr, depth = 10 ** rng.uniform(-4, 0), rng.uniform()
        _, got = run(runner, *shared("net_a", "sgd", lr, depth))
        [wanted] = expected([[np.log10(lr), depth]])
        assert (got.validation, got.test, got.seconds) == pytest.approx(tuple(wanted))


def test_between_the_points_epochs_are_interpolated_and_a_phase_that_is_over_keeps_its_best(table):
    curve = table.head("net_a", "adam", 1e-3)
    low, high = (recorded("net_a", "adam", lr, "head") for lr in (1e-4, 1e-2))
    epochs = max(len(low), len(high))

    def padded(rows):
        values = list(rows["validation"])
        return np.array(values + [max(values)] * (epochs - len(values)))

    assert curve.validation == pytest.approx((padded(low) + padded(high)) / 2)


def test_the_nearest_trial_may_stand_for_those_around_it():
    runner = TableRunner(Table(ROWS, how=NEAREST))
    _, got = run(runner, *shared("net_a", "adam", 4e-4, 0.6))
    assert (got.validation, got.test) == reached(
        recorded("net_a", "adam", 1e-4, "finetune", OWN, 0.5)
    )


@pytest.mark.parametrize(("value", "index"), [(-9.0, 0), (9.0, 2), (-2.0, 1), (-2 + 1e-12, 1)])
def test_outside_of_the_grid_and_on_its_points_one_point_counts(value, index):
    assert between(np.array([-4.0, -2.0, 0.0]), value) == [(index, 1.0)]


def per_phase(model, head, finetune, depth=0.5):
    return [
        "model=timm", f"model.name={model}", f"delimiting_layer={depth!r}",
        f"optimizer@head.optimizer={head[0]}", f"head.optimizer.lr={head[1]!r}",
        f"optimizer@finetune.optimizer={finetune[0]}", f"finetune.optimizer.lr={finetune[1]!r}",
    ]  # fmt: skip


def test_a_set_per_phase_fine_tunes_from_the_block_that_its_own_head_phase_trained(table):
    runner = TableRunner(table)
    heads = {
        (o, lr): reached(recorded("net_a", o, lr, "head"))[0] for o in OPTIMIZERS for lr in RATES
    }
    best = max(heads, key=heads.get)
    _, equal = run(runner, *per_phase("net_a", ("sgd", 1.0), ("sgd", 1.0)))
    _, good = run(runner, *per_phase("net_a", best, ("sgd", 1.0)))
    own, from_best = (
        reached(recorded("net_a", "sgd", 1.0, "finetune", start, 0.5))[0] for start in (OWN, BEST)
    )
    assert (equal.validation, good.validation) == (own, from_best)
    middle = sorted(heads, key=heads.get)[-2]
    _, between_both = run(runner, *per_phase("net_a", middle, ("sgd", 1.0)))
    share = (heads[middle] - heads["sgd", 1.0]) / (heads[best] - heads["sgd", 1.0])
    assert 0 < share < 1
    assert between_both.validation == pytest.approx(own + share * (from_best - own))


def test_a_later_step_starts_from_the_block_of_the_trial_that_it_names(table):
    runner = TableRunner(table)
    head = ["model=timm", "model.name=net_a", "finetune.epochs=0", "optimizer=sgd"]
    _, alone = run(runner, *head, "optimizer.lr=1.0", folder="trials/head-3")
    assert alone.validation == reached(recorded("net_a", "sgd", 1.0, "head"))[0]
    start = ["head.epochs=0", "head.weights=trials/head-3/head.safetensors"]
    result, tuned = run(runner, *shared("net_a", "sgd", 1.0, 0.5), *start)
    own = recorded("net_a", "sgd", 1.0, "finetune", OWN, 0.5)
    assert tuned.validation == reached(own)[0]
    assert tuned.seconds == pytest.approx(own["seconds"].sum())
    assert result.phases["head"].epochs == 0


def test_a_cancelled_trial_costs_its_epochs_alone_and_has_the_best_of_them(table):
    runner = TableRunner(table)
    result, trial = run(
        runner, *shared("net_b", "adam", 1e-4, 0.0), report=lambda record: record.number == 2
    )
    rows = recorded("net_b", "adam", 1e-4, "head")[:2]
    assert (result.state, result.epochs, result.reason) == ("PRUNED", 2, "early cancel")
    assert (trial.validation, trial.test) == reached(rows)
    assert trial.seconds == pytest.approx(rows["seconds"].sum())


def test_settings_follow_the_shared_optimizer_unless_a_phase_has_its_own():
    chosen = Chosen.of(
        ["model=net_a", "optimizer=sgd", "optimizer.lr=0.1", "finetune.optimizer.lr=1e-05"]
    )
    assert (chosen.model, chosen.head, chosen.finetune) == ("net_a", ("sgd", 0.1), ("sgd", 1e-5))
    assert chosen.depth(30) == pytest.approx(2 / 3)


def test_no_trial_is_better_than_the_optimum(table):
    runner, rng = TableRunner(table), np.random.default_rng(2)
    everything = ROWS["validation"].max()
    assert table.optimum() == everything
    for _ in range(50):
        finetune, head = ((rng.choice(OPTIMIZERS), 10 ** rng.uniform(-5, 1)) for _ in "ab")
        _, trial = run(runner, *per_phase(rng.choice(MODELS), head, finetune, rng.uniform()))
        assert trial.validation <= everything
    of_own = ROWS[(ROWS["start"] == OWN)]["validation"].max()
    assert table.optimum((OWN,)) == of_own


def test_accuracies_on_the_grid(table):
    validation, test = table.finals("net_b")
    assert validation.shape == test.shape == (2, 3, 3)
    assert (validation[0, 1, 2], test[0, 1, 2]) == reached(
        recorded("net_b", "adam", 1e-2, "finetune", OWN, 1.0)
    )


def test_a_table_that_is_not_whole_is_refused():
    with pytest.raises(UserError, match=r"none of net_b with adam at 0.01; record it"):
        Table(ROWS[~ROWS.index.isin(recorded("net_b", "adam", 1e-2, "head").index)])


VALIDATION = np.array([[0.5, 0.4, 0.7, 0.7, 0.6], [0.3, 0.6, 0.6, 0.9, 0.8]])


def test_the_incumbent_is_the_first_of_the_best_so_far():
    assert regret.incumbent(VALIDATION).tolist() == [[0, 0, 2, 2, 2], [0, 1, 1, 3, 3]]
    test = np.arange(10.0).reshape(2, 5)
    assert regret.of_incumbent(test, VALIDATION).tolist() == [[0, 0, 2, 2, 2], [5, 6, 6, 8, 8]]


def test_simple_regret_is_what_the_incumbent_lacks():
    expected = [[0.5, 0.5, 0.3, 0.3, 0.3], [0.7, 0.4, 0.4, 0.1, 0.1]]
    assert regret.simple_regret(VALIDATION, 1.0) == pytest.approx(np.array(expected))


def test_at_a_point_in_time_the_last_trial_that_is_over_counts():
    values, seconds = np.array([[3.0, 2.0, 1.0]]), np.array([[1.0, 2.0, 4.0]])
    found = regret.over_time(values, seconds, np.array([0.5, 1.0, 2.9, 3.0, 7.0, 9.0]), before=8.0)
    assert found.tolist() == [[8, 3, 3, 2, 1, 1]]


def test_intervals_are_students():
    values = np.random.default_rng(3).normal(size=(12, 4))
    mean, half = regret.mean_interval(values)
    for column in range(4):
        low, high = stats.t.interval(
            0.95, 11, values[:, column].mean(), stats.sem(values[:, column])
        )
        assert (mean - half)[column] == pytest.approx(low)
        assert (mean + half)[column] == pytest.approx(high)


def test_paired_tests_are_scipys():
    rng = np.random.default_rng(4)
    a = rng.uniform(size=30)
    b = a + rng.normal(0.1, 0.2, size=30)
    found = regret.paired(a, b)
    assert found.difference == pytest.approx(np.mean(a - b))
    assert found.p_t == pytest.approx(stats.ttest_rel(a, b).pvalue)
    assert found.p_wilcoxon == pytest.approx(stats.wilcoxon(a, b).pvalue)
    low, high = stats.ttest_rel(a, b).confidence_interval()
    assert (found.difference - found.half, found.difference + found.half) == pytest.approx(
        (low, high)
    )


def test_equal_searches_do_not_differ():
    a = np.array([0.1, 0.2, 0.3])
    assert regret.paired(a, a) == regret.Paired(0.0, 0.0, 1.0, 1.0)


def test_holms_correction_by_hand():
    # 0.01 x 4, 0.03 x 3, then 0.04 x 2 is raised to what stands before it, and 0.9 x 1.
    assert regret.holm([0.04, 0.01, 0.9, 0.03]) == pytest.approx([0.09, 0.04, 0.9, 0.09])
    assert regret.holm([0.6, 0.7]) == pytest.approx([1.0, 1.0])


def test_a_search_replays_as_it_is_told(table):
    config = compose_search(["strategy=joint", "sampler=random"], table, 6)
    first, again, other = (replay(config, table, seed) for seed in (1, 1, 2))
    results = [[(t.validation, t.test, t.seconds) for t in each] for each in (first, again, other)]
    assert len(first) == 6
    assert results[0] == results[1] != results[2]
    assert all(t.proposal > 0 for t in first)


@pytest.mark.parametrize(
    ("strategy", "trials", "steps"),
    [("joint", 10, [10]), ("shared", 10, [5, 5]), ("separate_steps", 28, [9, 9, 10])],
)
def test_strategies_share_one_budget(table, strategy, trials, steps):
    config = compose_search([f"strategy={strategy}", "sampler=random"], table, trials)
    assert [step["trials"] for step in config["strategy"]["steps"]] == steps
    assert len(replay(config, table, 0)) == trials


@pytest.mark.parametrize("name", ["joint-random", "joint-tpe", "joint-gp10"])
def test_a_small_budget_of_a_search_without_by_budget_is_the_beginning_of_a_large_one(table, name):
    assert not SEARCHES[name].by_budget
    long, short = (
        replay(compose_search(SEARCHES[name].overrides(), table, trials), table, 3)
        for trials in (9, 6)
    )
    assert [t.validation for t in short] == [t.validation for t in long[:6]]


def test_a_replay_in_which_a_trial_fails_is_no_result(table, monkeypatch):
    monkeypatch.setattr(table, "finetune", {}.__getitem__)
    config = compose_search(["strategy=joint", "sampler=random"], table, 3)
    with pytest.raises(RuntimeError, match="failed"):
        replay(config, table, 0)


def sections(text):
    """Return the rows of every table by its title."""
    found = {}
    for part in text.split("### ")[1:]:
        title, *lines = part.splitlines()
        header, _, *body = (
            [cell.strip() for cell in line.split("|")[1:-1]] for line in lines if "|" in line
        )
        found[title] = [dict(zip(header, row, strict=True)) for row in body]
    return found


def test_searches_are_replayed_compared_and_drawn(tmp_path, capsys, monkeypatch):
    # Describing the machine takes longer than all the rest.
    monkeypatch.setattr("bench.searches.print_header", lambda *_: None)
    ROWS.to_parquet(tmp_path / "table.parquet")
    arguments = ["--table", tmp_path / "table.parquet", "--folder", tmp_path / "kept"]
    arguments += ["--out", tmp_path / "figures", "--seeds", "3", "--trials", "8", "4"]
    arguments += ["--workers", "1", "--only", "joint-random", "joint-tpe"]
    main([str(each) for each in arguments])
    printed = capsys.readouterr()
    tables = sections(printed.out)
    assert "0 of 6 searches are kept" in printed.err
    kept = {
        name: np.array(
            [
                json.loads(path.read_text())["validation"]
                for path in sorted((tmp_path / "kept").glob(f"{name}-8-*/*.json"))
            ]
        )
        for name in ("joint-random", "joint-tpe")
    }
    optimum = ROWS["validation"].max()
    for row in tables["Simple regret by budget in trials"]:
        for trials in (4, 8):
            best = kept[row["search"]][:, :trials].max(axis=1)
            assert float(row[f"{trials} trials"].split(" ")[0]) == pytest.approx(
                np.mean(optimum - best), abs=1e-4
            )
    first, last = tables["Against random search (joint-random)"]
    assert (first["search"], first["trials"], last["trials"]) == ("joint-tpe", "4", "8")
    expected = stats.ttest_rel(kept["joint-random"].max(axis=1), kept["joint-tpe"].max(axis=1))
    assert float(last["p (t)"]) == pytest.approx(expected.pvalue, abs=1e-3)
    drawn = {path.name for path in (tmp_path / "figures").iterdir()}
    names = ("regret_trials", "regret_seconds", "gap", "depths")
    assert drawn == {f"{name}.{kind}" for name in names for kind in ("png", "svg")}

    main([str(each) for each in arguments])
    again = capsys.readouterr()
    assert "6 of 6 searches are kept" in again.err
    assert sections(again.out) == tables


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only", "joint-oracle"], "--only must name searches, got joint-oracle"),
        (["--table", "absent.parquet"], "the table must be a file, got absent.parquet"),
        (["--seeds", "1"], "--seeds must be at least 2"),
    ],
)
def test_what_cannot_be_replayed_is_told_in_one_line(tmp_path, capsys, arguments, message):
    (tmp_path / "table.parquet").touch()
    with pytest.raises(SystemExit) as left:
        main(["--table", str(tmp_path / "table.parquet"), "--folder", str(tmp_path), *arguments])
    assert left.value.code == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1


def test_runs_that_ended_early_have_nothing_better_than_their_best():
    kept = [{"validation": [0.5], "test": [0.4], "seconds": [2.0], "proposal": [0.1]}]
    runs = Runs.of(kept, 3)
    assert regret.simple_regret(runs.validation, 1.0).tolist() == [[0.5, 0.5, 0.5]]
    assert regret.of_incumbent(runs.test, runs.validation).tolist() == [[0.4, 0.4, 0.4]]
    assert runs.seconds.tolist() == [[2.0, 0.0, 0.0]]
    assert runs.first(1).validation.shape == (1, 1)


def test_depths_show_the_best_optimizer_and_rate_by_validation(table):
    curves = depth_curves(table, "net_a")
    validation, test = table.finals("net_a")
    by_depth, at_any = curves["best at each depth"], curves["best at any depth"]
    assert by_depth[0] == pytest.approx(validation.max(axis=(0, 1)))
    best = np.unravel_index(validation.argmax(), validation.shape)
    assert at_any[1] == pytest.approx(test[best[0], best[1]])


def test_the_same_start_is_gpyopts_initial_design(table):
    ours = compose_search(["strategy=joint", "sampler=gpyopt", "sampler.n_initial=3"], table, 5)
    theirs = compose_search(["strategy=joint", "sampler=random"], table, 5)
    first = replay(ours, table, 4)[:3]
    same, other = replay(theirs, table, 4, start=3), replay(theirs, table, 4)
    scores = [each.validation for each in first]
    assert [each.validation for each in same[:3]] == scores
    assert [each.validation for each in other[:3]] != scores
