import pytest

from tl_hpo.reporting.figures import strategies_over_time
from tl_hpo.reporting.records import Epoch

pytestmark = pytest.mark.usefixtures("coarse")


def test_every_entry_of_the_legend_has_a_look_of_its_own(tmp_path, monkeypatch):
    handles = []
    monkeypatch.setattr(
        strategies_over_time, "legend_below", lambda _, own, columns: handles.extend(own)
    )
    runs = {
        f"run {n}": [
            Epoch(f"step {n}-{i}", 0, phase, 1, 0.5, 1.0)
            for i in range(3)
            for phase in ("head", "finetune")
        ]
        for n in range(6)
    }
    strategies_over_time.draw(runs, tmp_path / "a.png", "title")
    seen = {(h.get_color(), h.get_marker(), str(h.get_linestyle())) for h in handles}
    assert len(handles) == len(seen) == 18 + 3


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
