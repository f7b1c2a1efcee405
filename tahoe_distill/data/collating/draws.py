"""Random numbers that depend on (seed, epoch, sample, purpose) alone.

Batches are collated in worker processes, in any number and order, and again after a resumption. Drawing from a stream
of random numbers would make the result depend on all of that; here every number is a hash of what it is for.
"""

import numpy as np

# What a number is for; part of its key.
GENES, PROBABILITY, STUDENT, UNEXPRESSED, AUGMENT = range(5)

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def mix64(x):
    """SplitMix64 finaliser (Steele, Lea, Flood 2014) of a uint64 array, wrapping."""
    # In place, since it runs over millions of numbers; arrays wrap without a warning.
    x = x + _GOLDEN
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        x ^= x >> np.uint64(shift)
        x *= np.uint64(factor)
    x ^= x >> np.uint64(31)
    return x


def keys(seed, epochs, samples, purpose):
    """(C,) uint64: one key a sample, different for each ``purpose`` (a small integer)."""
    state = mix64(np.full(len(samples), np.uint64(seed % 2**64)))
    for part in (np.asarray(epochs), np.asarray(samples), np.full(len(samples), purpose)):
        state = mix64(state ^ part.astype(np.int64).astype(np.uint64))
    return state


def words(row_keys, count):
    """(C, count) uint32 random words, row by row from ``row_keys`` (C,)."""
    steps = _GOLDEN * np.arange(1, count // 2 + 2, dtype=np.uint64)
    return mix64(row_keys[:, None] + steps).view(np.uint32)[:, :count]


def uniforms(row_keys):
    """(C,) float64 in [0, 1) from ``row_keys`` (C,)."""
    return (mix64(row_keys) >> np.uint64(11)) * 2.0**-53


def generators(row_keys):
    """A ``numpy.random.Generator`` for each of ``row_keys`` (C,)."""
    return [np.random.Generator(np.random.PCG64(int(key))) for key in row_keys]


def smallest(row_words, count):
    """(n,) bool, true for the ``count`` smallest of ``row_words`` (n,): a random subset when they are random."""
    if count >= row_words.size:
        return np.ones(row_words.size, dtype=bool)
    if count <= 0:
        return np.zeros(row_words.size, dtype=bool)
    chosen = row_words < np.partition(row_words, count)[count]
    if np.count_nonzero(chosen) < count:
        # Equal words at the limit, once in some million rows: take them by position.
        chosen[np.argsort(row_words, kind="stable")[:count]] = True
    return chosen
