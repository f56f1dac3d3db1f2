"""Every benchmark from its arguments to its table."""

import importlib
import re

import pytest
import torch
from hydra import compose, initialize_config_dir

from tl_hpo.config import CONF_DIR, register_resolvers


@pytest.fixture
def rows(capsys):
    """Run a benchmark; return the rows of its table by column, and check the line before it."""

    def run(name, *arguments):
        importlib.import_module(f"bench.{name}").main(arguments)
        first, blank, *table = capsys.readouterr().out.splitlines()
        assert re.search(r"cores, \d+ GB; .*; torch [\d.]+.*; bf16 in hardware of the cpu: ", first)
        assert f"`python -m bench.{name} --root " in first
        assert blank == ""
        header, rule, *body = ([c.strip() for c in line.split("|")[1:-1]] for line in table)
        assert set(rule) == {"---"}
        return [dict(zip(header, row, strict=True)) for row in body]

    return run


def number(text):
    return float(text.replace(",", ""))


def test_one_trial_compares_cold_and_warm_with_the_plain_loop(rows, tiny):
    [row] = rows("one_trial", *tiny)
    assert row["model"] == "test_resnet"
    assert number(row["cold ×"]) == pytest.approx(
        number(row["plain s"]) / number(row["cold s"]), rel=0.02
    )
    assert all(number(value) > 0 for key, value in row.items() if "×" in key)


def test_limit_tells_shares_that_add_up(rows, tiny):
    cold, warm = rows("limit", *tiny)
    for row in (cold, warm):
        assert sum(number(value) for key, value in row.items() if "%" in key) == pytest.approx(
            100, abs=1
        )
    # Equal where the planner finds so small a network not worth keeping anything of.
    assert number(cold["GFLOP"]) >= number(warm["GFLOP"]) > 0
    assert number(cold["decoding %"]) > number(warm["decoding %"])


def test_growth_compares_with_its_first_rows(rows, tiny):
    sizes = ["--factors", "2", "--trials", "1", "2", "--trials-image-size", "32"]
    found = rows("growth", *tiny, *sizes)
    assert [(row["images"], row["trials"]) for row in found] == [
        ("72", "1"), ("36", "1"), ("36", "2"),
    ]  # fmt: skip
    assert (found[0]["time ×"], found[1]["time ×"]) == ("1", "1")


def test_one_experiment_repeats_the_searchs_own_trials_through_the_plain_loop(rows, tiny):
    [row] = rows(
        "one_experiment", *tiny, "--trials", "1", "--layer-trials", "1", "--sampler", "random"
    )
    assert (row["trials"], row["run by the plain loop"]) == ("2", "2 of 2")
    assert number(row["total s"]) > number(row["search s"]) > 0
    assert number(row["images through all frozen layers"]) % 36 == 0
    assert number(row["between trials s, longest"]) > 0


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_the_papers_protocol_refuses_to_run_without_a_gpu(capsys):
    from bench.paper_gpu import main

    with pytest.raises(SystemExit) as left:
        main([])
    assert left.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_the_papers_protocol_takes_the_papers_choices_on_phantom_images(tmp_path):
    from bench.paper_gpu import STRATEGIES, _parse, overrides_of

    register_resolvers()
    for strategy in STRATEGIES:
        overrides = overrides_of(_parse(["pruner=none"]), tmp_path, strategy)
        with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
            config = compose("optimize", overrides=overrides)
        assert (config.strategy.name, config.dataset.kind) == (strategy, "phantom")
        assert config.dataset.classes * config.dataset.images_per_class == 8000
        assert (config.sampler.axes, config.pruner.name) == ("raw", "none")
        assert len(config.search.models) == 9


def test_audit_measures_the_command_with_and_without_fingerprints(capsys):
    from bench.audit import main

    main(["--images", "23"])
    *_, header, rule, first, again = capsys.readouterr().out.splitlines()
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in (header, first, again)]
    rows = [dict(zip(cells[0], line, strict=True)) for line in cells[1:]]
    assert set(rule) <= set("|- ")
    assert [(row["run"], row["images"]) for row in rows] == [("first", "23"), ("again", "23")]
    assert all(number(row["seconds"]) > 0 for row in rows)
    assert all(10 < number(row["peak MB"]) < 2000 for row in rows)
