import numpy as np
import pytest

from tl_hpo.data.audit.duplicates import (
    MAX_CONFLICTS,
    MAX_WORST,
    Sides,
    duplicates,
    leaked_images,
    own_groups,
    worst_pairs,
)
from tl_hpo.data.audit.records import Leak, Member


@pytest.fixture
def sides(table_of, split_of):
    """Return the sides of eight images, the classes of which alternate."""
    return Sides(table_of([0, 1, 0, 1, 0, 1, 0, 1]), split_of("rrrrvvvt"))


def test_sets_are_counted_by_sides_and_classes(sides):
    #                                    r  r  r  r  v  v  v  t
    found = duplicates(sides, np.array([0, 1, 0, 2, 0, 3, 4, 3]))
    assert (found.sets, found.images, found.largest) == (2, 5, 3)
    assert found.crossing == 2
    assert found.across_classes == 0
    assert found.leaks == {"validation": Leak(3, 1), "test": Leak(1, 0)}
    assert found.conflicts == ()


def test_sets_of_several_classes_are_named(sides):
    found = duplicates(sides, np.array([0, 0, 1, 2, 3, 3, 4, 5]))
    assert (found.sets, found.across_classes, found.crossing) == (2, 2, 0)
    assert found.conflicts == (
        (Member("a/0.png", "a", "train"), Member("b/1.png", "b", "train")),
        (Member("a/4.png", "a", "validation"), Member("b/5.png", "b", "validation")),
    )


def test_of_many_conflicts_the_first_are_named(table_of, split_of):
    sides = Sides(table_of([0, 1] * 20), split_of("r" * 40))
    found = duplicates(sides, np.arange(40) // 2)
    assert found.across_classes == 20
    assert len(found.conflicts) == MAX_CONFLICTS


def test_every_class_of_a_conflict_is_named_however_large(table_of, split_of):
    sides = Sides(table_of([0] * 30 + [1]), split_of("r" * 31))
    [members] = duplicates(sides, np.zeros(31, int)).conflicts
    assert {member.label for member in members} == {"a", "b"}


def test_leaked_images_are_those_of_a_pair_with_one_trained_on(sides):
    pairs = np.array([[0, 4], [1, 2], [5, 6], [3, 7]])
    assert np.flatnonzero(leaked_images(sides, pairs)).tolist() == [4, 7]


def test_own_groups_that_cross(sides):
    found = own_groups(sides, ["x", "y", "x", "z", "x", "w", "v", "z"])
    assert (found.groups, found.crossing) == (5, 2)
    assert found.leaks == {"validation": Leak(3, 1), "test": Leak(1, 1)}


def test_worst_pairs_are_same_bytes_then_two_classes_then_near(sides):
    pairs = np.array([[0, 4], [1, 6], [2, 3], [0, 1], [3, 7], [2, 4]])
    distances = np.array([0, 9, 0, 0, 4, 2])
    content = np.array([0, 1, 2, 2, 0, 5, 6, 7])
    found = worst_pairs(sides, pairs, distances, content, np.arange(8))
    told = [(pair.first.path[2], pair.second.path[2], pair.exact) for pair in found]
    # 2 and 3 are the same bytes under two classes; 0 and 1 are on one side, of two classes too.
    assert told == [("2", "3", True), ("0", "4", True), ("0", "1", False), ("1", "6", False),
                    ("2", "4", False), ("3", "7", False)]  # fmt: skip


def test_a_pair_of_every_group_is_chosen_before_a_second_of_any(table_of, split_of):
    n = 2 * MAX_WORST
    sides = Sides(table_of([0] * 2 * n), split_of("rv" * n))
    pairs = np.array([[0, 1], [0, 3], [2, 1], [2, 3]] + [[i, i + 1] for i in range(4, 24, 2)])
    group = np.array([0] * 4 + [i // 2 for i in range(4, 2 * n)])
    distances = np.arange(len(pairs))
    found = worst_pairs(sides, pairs, distances, np.arange(2 * n), group)
    assert [pair.distance for pair in found] == [0, 1, *range(4, 14)]


def test_no_pairs(sides):
    nothing = np.empty((0, 2), int), np.empty(0, int)
    assert worst_pairs(sides, *nothing, np.arange(8), np.arange(8)) == ()
