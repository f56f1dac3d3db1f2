"""The pages that MkDocs generates, without building the rest."""

import importlib.util
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from blocks import Command, commands_of

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def hooks():
    spec = importlib.util.spec_from_file_location("docs_hooks", REPOSITORY / "docs/hooks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_configuration_is_on_the_page_with_its_comments(hooks):
    page = hooks.configuration_page(*hooks.CONFIGURATIONS)
    for path in (REPOSITORY / "conf").rglob("*.yaml"):
        group = path.parent.name
        composed = path.parent in hooks.CONFIGURATIONS
        heading = f"## {path.name}" if composed else f"`{group}={path.stem}`"
        assert heading in page
    assert "## predict.yaml" in page
    assert "predict=predict" not in page
    assert "trials of every step but the layer step" in page
    assert "@package" not in page


def test_a_file_is_its_first_comment_and_then_its_settings(hooks, tmp_path):
    (tmp_path / "thing").mkdir()
    (tmp_path / "thing" / "one.yaml").write_text(
        "# @package _global_\n# A thing of\n# two <lines>\na: 1   # why\n# of b\nb: 2\n"
    )
    assert hooks.configuration_page(tmp_path).split("\n\n")[2:] == [
        "## thing",
        '### `thing=one` <a id="thing-one"></a>',
        r"A thing of two \<lines\>",
        "```yaml\na: 1   # why\n# of b\nb: 2\n```\n",
    ]


def test_every_module_with_a_public_name_is_in_the_reference(hooks):
    told = "".join(hooks.package_page(REPOSITORY, name) for name in hooks.PACKAGES)
    assert "::: tl_hpo.search.executors.slurm\n" in told
    assert "::: tl_hpo.data\n" in told
    assert "__init__" not in told
    assert "._session" not in told


def test_a_link_out_of_the_pages_becomes_one_into_them_or_a_name(hooks):
    told = "see [the file](../conf/executor/slurm.yaml), [README](../README.md) and [this](ray.md)"
    assert hooks.on_page_markdown(told, page=None) == (
        "see [the file](reference/configuration.md#executor-slurm), README and [this](ray.md)"
    )


def test_commands_of_one_line_are_told_apart():
    line = "python a.py 'x=[1, 2]' && ray start   # on each"
    assert list(commands_of(line)) == [("python", "a.py", "x=[1, 2]"), ("ray", "start")]
    assert list(commands_of("# only a comment")) == []
    assert str(Command("page.md", ("ray", "start"))) == "page.md: ray start"
