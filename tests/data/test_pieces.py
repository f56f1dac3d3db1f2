from collections import Counter
from itertools import chain

import torch
from hypothesis import given
from hypothesis import strategies as st

from tl_hpo.data.module import Batches
from tl_hpo.data.pieces import LEAST, Pieces, pieces_of

ranks = st.integers(1, 5)


@given(st.integers(1, 70), st.integers(1, 5), ranks)
def test_the_pieces_of_all_processes_count_every_sample_of_a_step_once(length, times, n):
    found = [pieces_of(range(length), times, rank, n) for rank in range(n)]
    counted = [each.samples[: each.counted] for each in chain(*found)]
    assert list(chain(*counted)) == list(range(length))
    assert all(each.step == list(range(length)) for each in chain(*found))


@given(st.integers(1, 70), st.integers(1, 5), ranks)
def test_no_piece_is_too_small_for_batchnorm_and_no_process_has_more_than_another(length, times, n):
    found = [pieces_of(range(length), times, rank, n) for rank in range(n)]
    assert all(len(each.samples) >= LEAST for each in chain(*found))
    assert len({len(of_rank) for of_rank in found}) == 1
    assert 1 <= len(found[0]) <= times


@given(st.integers(1, 90), st.integers(2, 6), st.integers(1, 4), ranks)
def test_every_step_but_the_last_has_all_its_pieces(length, share, times, n):
    step = share * times * n
    batches = Batches(length, step, torch.Generator().manual_seed(0))
    start, stop = batches.bounds[-1]
    pieces = Pieces(batches, stop - start, times, 0, n)
    found = list(pieces)
    assert len(found) == len(pieces)
    per_step = Counter(tuple(each.step) for each in found)
    assert list(per_step.values())[:-1] == [times] * (len(batches) - 1)
    assert all(len(each.samples) == share for each in found[: (len(batches) - 1) * times])
