from pathlib import Path

from bench.searches import main


def test_the_figures_of_the_documentation_are_replaced_on_request_alone(monkeypatch):
    written = []
    for name in ("print_header", "write_all"):
        monkeypatch.setattr(f"bench.searches.{name}", lambda *_: None)
    monkeypatch.setattr("bench.searches.run_all", lambda _: {})
    monkeypatch.setattr("bench.searches.draw_all", lambda *told: written.append(told[-1]))
    docs = Path("docs/figures/searches")
    main(["--seeds", "3"])
    main(["--out", str(docs)])
    assert docs not in (written[0], *written[0].parents)
    assert written[1] == docs
