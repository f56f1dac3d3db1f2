import pytest

from tl_hpo.reporting.figures import strategies_over_time
from tl_hpo.reporting.records import Epoch

pytestmark = pytest.mark.usefixtures("coarse")


def test_draws_at_most_the_best_strategies(tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(strategies_over_time, "_overlay", lambda _, runs, __: shown.extend(runs))
    runs = {f"s{i}": [Epoch("shared", 0, "head", 1, i / 10, 1.0)] for i in range(8)}
    strategies_over_time.draw(runs, tmp_path / "a.png", "title")
    assert shown == ["s2", "s3", "s4", "s5", "s6", "s7"]


def test_every_line_lies_within_its_panel(tmp_path, monkeypatch):
    panels = []
    bound = strategies_over_time.bound_accuracy
    monkeypatch.setattr(
        strategies_over_time, "bound_accuracy", lambda axes: (panels.append(axes), bound(axes))
    )
    runs = {
        name: [Epoch("shared", 0, "head", n, v, n) for n, v in enumerate(values, 1)]
        for name, values in {"low": (0.1, 0.2), "high": (0.8, 0.97)}.items()
    }
    strategies_over_time.draw(runs, tmp_path / "a.png", "title")
    low, high = panels[0].get_ylim()
    assert low < 0.1
    assert high > 0.97
