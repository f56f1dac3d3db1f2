from types import SimpleNamespace

import pytest

from tl_hpo.data.audit.records import Member, Pair
from tl_hpo.reporting.figures.leakage_pairs import draw
from tl_hpo.reporting.figures.pairs import MAX_COLUMNS
from tl_hpo.reporting.records import read_run

pytestmark = pytest.mark.usefixtures("coarse")


@pytest.fixture
def shown(fake_run, tmp_path):
    """Draw the first images of a run as pairs; return the file."""
    run = read_run(fake_run())

    def make(count, absent=False):
        members = [Member(row.path, row.label, row.side) for row in run.split]
        if absent:
            members = [Member("absent.png", member.label, member.side) for member in members]
        pairs = tuple(Pair(members[i], members[-1 - i], i, i == 0) for i in range(count))
        draw(SimpleNamespace(pairs=pairs), run.root, tmp_path / "a.png", "title")
        return tmp_path / "a.png"

    return make


@pytest.mark.parametrize("count", [0, 1, MAX_COLUMNS, 7])
def test_draws_any_number_of_pairs(shown, count):
    assert shown(count).stat().st_size


def test_no_readable_image_is_refused(shown, tmp_path):
    with pytest.raises(FileNotFoundError, match="no image could be read"):
        shown(2, absent=True)
    assert not (tmp_path / "a.png").exists()
