import pytest
from omegaconf import OmegaConf

from tl_hpo.errors import UserError
from tl_hpo.search.guard import CONFIG_FILE, guard_configuration

NERTHUS = {"name": "nerthus", "root": "data", "download": True, "url": None, "sha256": None}


@pytest.fixture
def guard(tmp_path):
    """Begin a run folder with one configuration, or continue it with another."""

    def run(held=(), **changed):
        config = {"seed": 0, "runs_dir": "runs", "dataset": NERTHUS} | changed
        guard_configuration(tmp_path, config, list(held))

    return run


def test_the_same_configuration_goes_on(guard):
    guard(held=["model", "optimizer"])
    guard(held=["optimizer", "model"])


def test_a_changed_one_is_refused_with_the_difference(guard):
    guard()
    with pytest.raises(UserError, match=r"seed: then 0, now 1; .*name=OTHER"):
        guard(seed=1)
    with pytest.raises(UserError, match=r"dataset.root: then data, now other"):
        guard(dataset=NERTHUS | {"root": "other"})


@pytest.mark.parametrize(
    "changed",
    [{"download": False}, {"url": "http://mirror/nerthus.zip"}, {"sha256": "0" * 64}],
)
def test_where_a_dataset_is_fetched_from_does_not_matter(guard, tmp_path, changed):
    guard()
    guard(dataset=NERTHUS | changed)
    assert set(OmegaConf.load(tmp_path / CONFIG_FILE).dataset) == {"name", "root"}


@pytest.mark.parametrize("tag", ["object/apply:os.system", "object/new:os.system"])
def test_code_in_a_kept_configuration_is_not_executed(guard, tmp_path, tag):
    guard()
    call = f"seed: !!python/{tag} ['touch {tmp_path / 'executed'}']"
    (tmp_path / CONFIG_FILE).write_text(call)
    with pytest.raises(UserError, match=r"must be as optimize\.py wrote it, got ConstructorError"):
        guard()
    assert not (tmp_path / "executed").exists()


def test_what_a_kept_configuration_says_is_shown_as_it_stands(guard, tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET", "only-mine")
    guard()
    (tmp_path / CONFIG_FILE).write_text("seed: ${oc.env:SECRET}\nmore: {_target_: os.system}\n")
    with pytest.raises(UserError, match=r"then \$\{oc\.env:SECRET\}, now 0"):
        guard()


def test_where_results_go_does_not_matter(guard):
    guard()
    guard(runs_dir="other")


def test_an_experiment_may_go_on_for_longer(tmp_path):
    def config(hours, trials):
        return {"dataset": {}, "search": {"max_hours": hours, "n_trials": trials}}

    guard_configuration(tmp_path, config(1, 10), [])
    guard_configuration(tmp_path, config(2, 10), [])
    with pytest.raises(UserError, match=r"search\.n_trials: then 10, now 20"):
        guard_configuration(tmp_path, config(2, 20), [])
