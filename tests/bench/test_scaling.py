"""The benchmarks of docs/scaling.md, on experiments of a moment."""

import pytest
from postgresql_server import programs

from bench import storages, thousand, throughput


def cells(printed):
    """Return the rows of the table that a benchmark printed, as dictionaries."""
    rows = [line.strip("|").split("|") for line in printed.splitlines() if line.startswith("|")]
    head, _, *body = [[cell.strip() for cell in row] for row in rows]
    return [dict(zip(head, row, strict=True)) for row in body]


@pytest.mark.slow
def test_workers_of_trials_that_wait(capsys):
    throughput.main(["--seconds", "0.05", "--workers", "1", "2", "--rounds", "2"])
    one, two = cells(capsys.readouterr().out)
    assert (one["trials"], two["trials"]) == ("2", "4")
    for row in (one, two):
        assert 0 < float(row["share"]) <= 1
        assert float(row["took"]) >= float(row["ideal"])


@pytest.mark.slow
def test_clients_of_a_storage(capsys):
    asked = ["--clients", "1", "2", "--trials", "4"]
    kinds = ["sqlite"] if programs() is None else ["sqlite", "postgresql"]
    storages.main([*asked, "--storages", *kinds])
    rows = cells(capsys.readouterr().out)
    assert [(row["storage"], row["clients"]) for row in rows] == [
        (kind, clients) for kind in kinds for clients in ("1", "2")
    ]
    for row in rows:
        rate = 4 / float(row["seconds"])
        assert float(row["trials/s"]) == pytest.approx(rate, rel=0.02)
        assert float(row["writes/s"]) == pytest.approx(7 * rate, rel=0.02)


def test_many_workers_of_one_driver(capsys):
    thousand.main(["--workers", "2", "5", "--seconds", "0.1"])
    two, five = cells(capsys.readouterr().out)
    assert (two["trials"], five["trials"]) == ("6", "15")
    for row in (two, five):
        assert 0 < float(row["busy"]) <= 1
        assert float(row["trials/s"]) > 0
