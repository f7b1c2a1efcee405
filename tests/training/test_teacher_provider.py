"""Every provider of a teacher's outputs offers what a run needs of it."""

import inspect

import pytest

from tahoe_distill.cache.read import CachedTeacher
from tahoe_distill.training.forward import LiveTeacher
from tahoe_distill.training.teacher_provider import TeacherProvider, teacher_provider

METHODS = [name for name, value in vars(TeacherProvider).items() if inspect.isfunction(value) and name[0] != "_"]


@pytest.fixture
def providers(small_teacher, small_vocab):
    return [teacher_provider(str(small_teacher)), CachedTeacher("00" * 32, 16, small_vocab)]


def test_each_has_every_member(providers):
    assert [type(provider) for provider in providers] == [LiveTeacher, CachedTeacher]
    for provider in providers:
        assert isinstance(provider, TeacherProvider)


def test_a_member_that_is_missing_is_noticed(providers):
    del providers[0].fingerprint
    assert not isinstance(providers[0], TeacherProvider)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("cls", [LiveTeacher, CachedTeacher])
def test_each_is_called_the_same_way(cls, name):
    wanted, found = (inspect.signature(getattr(owner, name)).parameters for owner in (TeacherProvider, cls))
    assert [(p.name, p.kind) for p in found.values()] == [(p.name, p.kind) for p in wanted.values()]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"source": "tx1-nano", "dtype": "int8"}, "model.teacher.dtype must be one of float32, bfloat16, float16"),
        ({"sorce": "tx1-nano"}, "model.teacher has no option 'sorce': did you mean 'source'"),
    ],
)
def test_wrong_settings_are_refused(spec, message):
    with pytest.raises(ValueError, match=message):
        teacher_provider(spec)


def test_without_a_teacher_there_is_no_provider():
    assert teacher_provider(None) is None
