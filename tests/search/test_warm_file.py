"""What a search learns from earlier experiments is read once."""

import json
import shutil
from dataclasses import replace

import pytest
from optuna.storages import InMemoryStorage
from simulated import Layered

from tl_hpo.cli.plan import earlier_configurations
from tl_hpo.errors import UserError
from tl_hpo.files import read_csv, write_json, write_text
from tl_hpo.reporting.reading import read_objects
from tl_hpo.search.earlier import configurations
from tl_hpo.search.experiment import Experiment
from tl_hpo.search.known_images import KnownImages
from tl_hpo.search.warm_file import (
    WARM_FILE,
    Brought,
    LeftOut,
    read_configurations,
    read_known_images,
    write_warm_start,
)


class Killed(BaseException):
    """Ends the process as a signal would: nothing catches it."""


def warm(p, folder):
    """The plan as the command makes it: with what it reads, or has kept."""
    found = earlier_configurations([folder], p.folder, p.strategy)
    return replace(p, warm_start=found, warm_folders=[folder], warm_trials=2)


def test_what_is_kept_is_what_was_read(past, tmp_path):
    folder, known = past("separate_steps"), KnownImages(("runs/x",), 5, 2)
    found = configurations([folder])
    write_warm_start(tmp_path / WARM_FILE, found, known)
    kept = read_configurations(tmp_path / WARM_FILE)
    assert kept == found
    assert [each.configuration for each in kept] == [each.configuration for each in found]
    assert [str(each) for each in kept] == [str(each) for each in found]
    assert read_known_images(tmp_path / WARM_FILE).warning() == known.warning()


def test_nothing_is_kept_without_a_file(tmp_path):
    assert read_configurations(tmp_path / WARM_FILE) is None
    assert read_known_images(tmp_path / WARM_FILE) == KnownImages()


def test_what_each_step_brought_along_and_left_out_is_kept_by_name(past, plan):
    folder = past("separate", "search.n_trials=12")
    p = warm(plan("strategy=shared", "search.optimizers=[sgd,adam,nadam]"), folder)
    for _ in range(2):  # a repeated command says it no second time
        Experiment(p, Layered()).run()
    path = p.folder / WARM_FILE
    left = read_objects(path, LeftOut, "left_out")
    shared = [each for each in left if each.step == "shared"]
    assert [each.source for each in shared] == [str(each) for each in p.warm_start]
    assert {each.kind for each in shared} >= {"its phases have learning rates of their own"}
    brought = read_objects(path, Brought, "brought")
    assert [(each.step, each.number) for each in brought] == [("layers", 0), ("layers", 1)]
    known = {str(each): each for each in p.warm_start}
    rows = {(row["step"], row["number"]): row for row in read_csv(p.folder / "trials.csv")}
    for each in brought:
        assert each.accuracy == known[each.source].accuracy == known[each.source].objective
    row = rows["layers", "0"]  # the second trains what another has trained
    assert row["delimiting_layer"] == str(known[brought[0].source].layer)
    assert read_configurations(path) == list(p.warm_start)
    assert read_known_images(path).folders == [str(folder)]


def test_what_was_kept_before_accuracies_were_is_read(past, tmp_path):
    found = configurations([past("joint")])
    write_warm_start(tmp_path / WARM_FILE, found, KnownImages())
    told = json.loads((tmp_path / WARM_FILE).read_text())
    for each in told["configurations"]:
        del each["accuracy"]
    write_json(tmp_path / WARM_FILE, told)
    kept = read_configurations(tmp_path / WARM_FILE)
    assert kept == [replace(each, accuracy=None) for each in found]


@pytest.mark.parametrize("text", ["[]", "{", '{"configurations": [{"folder": "x"}]}'])
def test_a_file_that_was_changed_is_refused_in_one_line(tmp_path, text):
    write_text(tmp_path / WARM_FILE, text)
    with pytest.raises(UserError, match="remove it") as error:
        read_configurations(tmp_path / WARM_FILE)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("fate", ["gone", "gone on"])
@pytest.mark.parametrize(("strategy", "moment"), [("shared", 2), ("shared", 7), ("per_model", 2)])
def test_a_resumed_search_needs_the_earlier_folders_no_more(past, plan, fate, strategy, moment):
    folder, better = past("joint"), past("joint", name="better", seed=9)
    first = plan(f"strategy={strategy}", "search.optimizers=[sgd,adam,nadam]")
    whole = Layered()
    started = warm(replace(first, folder=first.folder.with_name("whole")), folder)
    Experiment(started, whole, InMemoryStorage()).run()

    killed = Layered(lambda n: Killed() if n == moment else None)
    with pytest.raises(Killed):
        Experiment(warm(first, folder), killed).run()
    shutil.rmtree(folder)
    if fate == "gone on":
        better.rename(folder)
        assert configurations([folder])[0].overrides != started.warm_start[0].overrides
    resumed = Layered()
    Experiment(warm(first, folder), resumed).run()
    assert resumed.asked == whole.asked[moment - 1 :]


def test_a_search_without_results_reads_the_folders_anew(past, plan):
    folder, p = past("joint"), plan("strategy=joint", "search.optimizers=[sgd,adam,nadam]")
    killed = Layered(lambda n: Killed() if n == 1 else None)
    with pytest.raises(Killed):
        Experiment(warm(p, folder), killed).run()
    assert (p.folder / WARM_FILE).exists()
    shutil.rmtree(folder)
    with pytest.raises(UserError, match=r"search\.warm_start must name run folders"):
        warm(p, folder)
    Experiment(p, Layered(), InMemoryStorage())  # begins anew, without them
    assert not (p.folder / WARM_FILE).exists()
