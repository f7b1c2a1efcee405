"""What a resumed run says otherwise than before is listed, and refused where it makes another run of it."""

import copy

import pytest

from tahoe_distill.training.resume.configuration import differences, require_same_run


def changed(config, path, value):
    config = copy.deepcopy(config)
    section = config
    *parents, key = path.split(".")
    for parent in parents:
        section = section.setdefault(parent, {})
    if value is None:
        section.pop(key)
    else:
        section[key] = value
    return config


@pytest.mark.parametrize(
    ("path", "value", "line", "refused"),
    [
        ("model.student.num_hidden_layers", 2, "model.student.num_hidden_layers: 1 in the checkpoint, 2 now", True),
        ("model.student", "small", "model.student: nothing in the checkpoint, small now", True),
        ("model.objectives.mse", None, "model.objectives.mse: 0.5 in the checkpoint, nothing now", True),
        ("train_loader.dataset.local", "elsewhere", "elsewhere now", True),
        (
            "train_loader.collator.max_length",
            16,
            "train_loader.collator.max_length: 32 in the checkpoint, 16 now",
            True,
        ),
        ("seed", 2, "seed: 1 in the checkpoint, 2 now", True),
        ("optimizer.name", "decoupled_lionw", "optimizer.name: decoupled_adamw in the checkpoint", True),
        ("optimizer.lr", 2.0e-3, "optimizer.lr: 0.001 in the checkpoint, 0.002 now", False),
        ("max_duration", "9ba", "max_duration: 6ba in the checkpoint, 9ba now", False),
        ("global_train_batch_size", 16, "global_train_batch_size: 8 in the checkpoint, 16 now", False),
    ],
)
def test_each_difference_is_a_line(run_config, path, value, line, refused):
    found = differences(run_config, changed(run_config, path, value))
    assert any(line in str(difference) and difference.refused == refused for difference in found)


def test_what_says_nothing_of_the_run_is_left_alone(run_config):
    now = changed(changed(run_config, "progress_bar", True), "train_loader.num_workers", 4)
    assert differences(run_config, changed(now, "n_gpus", 2)) == []


def test_another_run_is_refused_with_every_reason(run_config):
    now = changed(changed(run_config, "model.objectives.mse", 0.7), "seed", 2)
    found = differences(run_config, now)
    with pytest.raises(
        ValueError, match=r"(?s)latest.*mse: 0.5 .*0.7 now.*seed: 1 .*resume_anyway=\[model.objectives.mse, seed\]"
    ):
        require_same_run(found, [], "latest")
    with pytest.raises(ValueError, match=r"resume_anyway=\[seed\]"):
        require_same_run(found, ["model.objectives"], "latest")
    require_same_run(found, ["model.objectives", "seed"], "latest")
    require_same_run(differences(run_config, changed(run_config, "optimizer.lr", 0.1)), [], "latest")
