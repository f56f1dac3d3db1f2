"""What a trial takes of a Ray cluster, and how many run at once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tl_hpo.errors import UserError
from tl_hpo.search.executors.ray_shares import Node, Share, make_share

USUAL = {"workers": None, "cpus": None, "gpus": "auto"}
nodes = st.builds(Node, st.integers(0, 64).map(float), st.integers(0, 8).map(float))


def share(*nodes, **changed):
    return make_share([Node(*node) for node in nodes], **(USUAL | changed))


@pytest.mark.parametrize(
    ("nodes", "changed", "expected"),
    [
        ([(8, 0)], {}, Share(8, 0, 1, 1)),
        ([(8, 0), (4, 0)], {}, Share(4, 0, 3, 2)),
        ([(8, 0), (8, 0)], {"workers": 4}, Share(4, 0, 4, 2)),
        ([(8, 0)], {"cpus": 1}, Share(1, 0, 8, 8)),
        ([(2, 0)], {"cpus": 0.5, "workers": 3}, Share(0.5, 0, 3, 3)),
        ([(64, 8)], {}, Share(8, 1, 8, 8)),
        ([(64, 8), (4, 0)], {"gpus": 0.5}, Share(4, 0.5, 16, 16)),
        ([(16, 1), (16, 1), (4, 0)], {}, Share(16, 1, 2, 1)),
        ([(2, 4)], {}, Share(0.5, 1, 4, 4)),
        ([(16, 4)], {"gpus": 0.3}, Share(1, 0.3, 12, 12)),
        ([(16, 4)], {"gpus": 0, "cpus": 2}, Share(2, 0, 8, 8)),
        ([(0, 0), (4, 1)], {"workers": 10}, Share(4, 1, 10, 1)),
        ([(64, 8)], {"together": 2}, Share(16, 2, 4, 4)),
        ([(64, 8), (12, 3)], {"together": 2}, Share(12, 2, 5, 4)),
        ([(8, 0)], {"together": 2}, Share(8, 0, 1, 1)),
    ],
)
def test_a_cluster_is_divided(nodes, changed, expected):
    assert share(*nodes, **changed) == expected


@given(st.lists(nodes, min_size=1, max_size=5), st.sampled_from(["auto", 0, 0.25, 0.4, 1]))
def test_no_node_is_asked_for_more_than_it_has(nodes, gpus):
    try:
        found = make_share(nodes, **(USUAL | {"gpus": gpus}))
    except UserError:
        return
    assert 1 <= found.per_node <= found.workers
    assert any(
        node.cpus >= found.per_node * found.cpus - 1e-6
        and node.gpus >= found.per_node * found.gpus - 1e-6
        for node in nodes
    )
    assert found.workers * found.cpus <= sum(node.cpus for node in nodes) + 1e-6


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"workers": 0}, "executor.workers must be a whole number of at least 1, or null, got 0"),
        ({"workers": 1.5}, "got 1.5"),
        ({"workers": True}, "got True"),
        ({"cpus": 0}, "executor.cpus must be a positive number, or null, got 0"),
        ({"cpus": "all"}, "got 'all'"),
        ({"gpus": 2}, "executor.gpus must be auto or a number from 0 to 1, got 2; a trial uses"),
        ({"gpus": "two"}, "got 'two'"),
        ({"gpus": 0.5, "together": 2}, "must be auto or 1 where trainer.devices=2 GPUs train a"),
        ({"gpus": 1, "together": 2}, "a node must hold a trial, got executor.gpus=2"),
        ({"gpus": 1}, "a node must hold a trial, got executor.gpus=1 executor.cpus=1 where the"),
        ({"cpus": 9}, "has 0 GPUs and 8 CPUs"),
    ],
)
def test_what_no_cluster_or_not_this_one_holds_is_told(changed, told):
    with pytest.raises(UserError) as error:
        share((8, 0), (2, 0), **changed)
    assert told in str(error.value)
