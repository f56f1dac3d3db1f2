import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tl_hpo.models.reuse.passes import TensorSpec
from tl_hpo.models.reuse.rooms import Key, MemoryRoom, bytes_of, gather_rate

CPU = torch.device("cpu")
ONE = (TensorSpec((1,), torch.uint8, False),)  # as many bytes as images


def room_of(budget):
    room = MemoryRoom(CPU, 0)  # whose rate is not measured
    room.budget = budget
    return room


def keep(room, cut, size, seconds=1.0, work="work"):
    with room.making(Key(work, cut), ONE, size, seconds) as (tensor,):
        tensor.fill_(cut)


def keep_if_it_fits(room, cut, size, seconds, protected=()):
    """Do what a plan does; return whether it fits."""
    if math.isinf(room.regret(size, protected)):
        return False
    room.make_room(size, protected)
    keep(room, cut, size, seconds)
    return True


MADE = st.lists(st.tuples(st.integers(1, 60), st.floats(0, 10)), max_size=12)


@given(st.integers(1, 100), MADE)
def test_the_budget_is_never_exceeded(budget, made):
    room = room_of(budget)
    for cut, (size, seconds) in enumerate(made):
        assert keep_if_it_fits(room, cut, size, seconds) == (size <= budget)
        assert room.used() <= budget
        assert room.free() == budget - room.used()


@given(st.integers(20, 100), MADE, st.sets(st.integers(0, 11)))
def test_what_is_protected_stays_and_what_is_kept_is_whole(budget, made, cuts):
    room = room_of(budget)
    protected, must_stay = [Key("work", cut) for cut in cuts], set()
    for cut, (size, seconds) in enumerate(made):
        if keep_if_it_fits(room, cut, size, seconds, protected) and cut in cuts:
            must_stay.add(cut)
        assert must_stay <= set(room.cuts("work"))
    for cut in room.cuts("work"):
        assert (room.find(Key("work", cut)).tensors[0] == cut).all()


def test_what_is_cheap_to_make_for_its_size_gives_way_first():
    room = room_of(100)
    keep(room, 1, 40, seconds=8.0)  # 0.2 per byte
    keep(room, 2, 10, seconds=1.0)  # 0.1
    keep(room, 3, 50, seconds=5.5)  # 0.11
    assert room.regret(5, ()) == 1.0
    assert room.regret(20, ()) == 6.5
    assert room.regret(20, [Key("work", 3)]) == 9.0
    room.make_room(20, ())
    assert room.cuts("work") == [1]


def test_nothing_gives_way_where_there_is_room():
    room = room_of(100)
    keep(room, 1, 60)
    assert room.regret(40, ()) == 0.0
    room.make_room(40, ())
    assert room.cuts("work") == [1]


@pytest.mark.parametrize(("size", "protected"), [(101, []), (50, [Key("work", 1)])])
def test_what_cannot_fit_makes_nothing_give_way(size, protected):
    room = room_of(100)
    keep(room, 1, 60)
    assert room.regret(size, protected) == math.inf
    room.make_room(size, protected)
    assert room.cuts("work") == [1]


def fail_while_making(room, key):
    with pytest.raises(RuntimeError, match="failed"), room.making(key, ONE, 10, 1.0):
        raise RuntimeError("failed")


def test_making_that_fails_leaves_nothing():
    room = room_of(100)
    fail_while_making(room, Key("work", 1))
    assert room.find(Key("work", 1)) is None
    assert room.used() == 0


def test_works_do_not_see_each_other():
    room = room_of(100)
    keep(room, 1, 10, work="one")
    keep(room, 2, 10, work="two")
    assert room.cuts("one") == [1]
    assert room.find(Key("one", 2)) is None
    assert room.find(Key("two", 2)) is not None


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_is_kept_is_equal_and_laid_out_as_it_was_made(last, dtype):
    made = torch.randn(6, 2, 3, 4).to(dtype)
    made = made.contiguous(memory_format=torch.channels_last) if last else made
    spec, room = TensorSpec.of(made), room_of(1000)
    with room.making(Key("work", 1), [spec], 6, 2.5) as (tensor,):
        tensor[0:4] = spec.stored(made[0:4])
        tensor[4:6] = spec.stored(made[4:6])
    kept = room.find(Key("work", 1))
    assert torch.equal(kept.tensors[0], made)
    assert kept.tensors[0].stride() == made.stride()
    assert kept.bytes == bytes_of([spec], 6) == room.used()
    assert kept.making == 2.5


def test_a_room_without_a_budget_keeps_nothing():
    room = room_of(0)
    assert room.regret(1, ()) == math.inf
    assert room.free() == 0


def test_the_rate_is_measured():
    assert 1e6 < gather_rate(CPU, 1 << 20) < 1e14
