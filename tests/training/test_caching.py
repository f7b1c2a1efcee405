"""What of a run's configuration keeps its teacher from being cached."""

import pytest

from tahoe_distill.training.caching import write_cache
from tests.helpers.in_process import distributed_ends


@pytest.fixture(autouse=True)
def no_process_group_is_left():
    """Writing a cache joins a process group, in which forked processes of later tests would wait for ever."""
    with distributed_ends():
        yield


def with_objectives(config, objectives):
    """The run with other objectives."""
    return {**config, "model": {**config["model"], "objectives": objectives}}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"precision": "float8"}, "precision must be one of float16, float32; found 'float8'"),
        ({"store": ["genes"]}, "store may name expression, mvc, pooled; found genes"),
        ({"views": 0}, "views, part_cells, cells must be 1 or more; found views 0"),
    ],
)
def test_wrong_settings_are_refused(tmp_path, run_config, settings, message):
    with pytest.raises(ValueError, match=message):
        write_cache(run_config, tmp_path / "cache", progress=False, **settings)


def test_objectives_that_no_cache_serves_are_refused(tmp_path, run_config):
    with pytest.raises(ValueError, match="model.objectives.gene reads 'genes' of the teacher, and no cache keeps"):
        write_cache(with_objectives(run_config, {"gene": 1.0}), tmp_path / "cache", progress=False)
    assert not (tmp_path / "cache").exists()


def test_a_run_without_a_teacher_has_nothing_to_cache(tmp_path, run_config):
    run_config["model"]["teacher"] = None
    with pytest.raises(ValueError, match="model.teacher names no teacher"):
        write_cache(run_config, tmp_path / "cache", progress=False)


def test_a_run_without_cells_has_nothing_to_cache(tmp_path, run_config):
    run = {**run_config, "train_loader": {"name": "text"}}
    with pytest.raises(ValueError, match="the loader of train has no dataset; expected a tahoe_mds loader"):
        write_cache(run, tmp_path / "cache", progress=False)
    with pytest.raises(ValueError, match="the configuration has no train_loader"):
        write_cache({**run, "train_loader": None}, tmp_path / "cache", progress=False)
    assert not (tmp_path / "cache").exists()
