"""Random numbers: the same for the same purpose, different for any other, and uniform."""

import numpy as np

from tahoe_distill.data.collating import draws


def test_same_inputs_same_numbers_in_any_batch():
    together = draws.words(draws.keys(1, [0, 0, 2], [5, 6, 5], purpose=0), 10)
    alone = draws.words(draws.keys(1, [0], [6], purpose=0), 4)
    assert np.array_equal(together[1, :4], alone[0])


def test_each_part_of_the_key_matters():
    parts = ((1, [0], [5]), (2, [0], [5]), (1, [1], [5]), (1, [0], [6]), (1, [5], [0]))
    keys = [draws.keys(*part, purpose=0)[0] for part in parts]
    keys.append(draws.keys(1, [0], [5], purpose=1)[0])
    assert len(set(keys)) == len(keys)


def test_words_are_uniform():
    words = draws.words(draws.keys(3, np.zeros(400), np.arange(400), purpose=0), 500)
    counts = np.bincount((words >> 28).ravel(), minlength=16)
    expected = words.size / 16
    assert ((counts - expected) ** 2 / expected).sum() < 40
    # Neighbours in a row, and rows of neighbouring samples, do not go together.
    unit = words / 2**32
    assert abs(np.corrcoef(unit[:, :-1].ravel(), unit[:, 1:].ravel())[0, 1]) < 0.01
    assert abs(np.corrcoef(unit[:-1].ravel(), unit[1:].ravel())[0, 1]) < 0.01


def test_smallest_takes_exactly_so_many_even_with_ties():
    words = np.array([5, 1, 5, 5, 0], dtype=np.uint32)
    for count in range(7):
        assert draws.smallest(words, count).sum() == min(count, 5)
