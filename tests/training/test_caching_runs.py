"""The cache as a user writes it, by two processes, and a run that learns from it."""

import os
import subprocess

from tahoe_distill.cache.record import CacheRecord
from tahoe_distill.cli.main import main
from tests.helpers import REPOSITORY
from tests.helpers.whole_runs import COMPOSER, distill, environment, weights, write_config


def test_two_processes_write_the_cache_and_train_from_it(tmp_path, run_config):
    path = write_config(tmp_path, run_config)
    command = [COMPOSER, "-n", "2", "-m", "tahoe_distill.cli.main", "cache", "-f", path, "--out", tmp_path / "two"]
    done = subprocess.run(
        [*command, "--part-cells", "10", "--quiet"],
        cwd=REPOSITORY,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert main(["cache", "-f", str(path), "--out", str(tmp_path / "one"), "--part-cells", "10", "--quiet"]) == 0
    for folder, _, names in os.walk(tmp_path / "one"):
        for name in names:
            one = os.path.join(folder, name)
            two = one.replace(str(tmp_path / "one"), str(tmp_path / "two"))
            with open(one, "rb") as first, open(two, "rb") as second:
                assert first.read() == second.read(), name
    # The teacher is not needed any more: this one does not exist.
    code, output = distill(tmp_path, run_config, f"model.teacher={{cache: {tmp_path}/two}}")
    assert code == 0, output
    assert weights(tmp_path / "hf")["projection.weight"].shape == (16, 8)


def test_the_command_says_what_it_wrote_and_how_to_go_on(tmp_path, run_config, capsys):
    path = write_config(tmp_path, run_config)
    assert main(["cache", "-f", str(path), "--out", str(tmp_path / "cache"), "--views", "2", "--quiet"]) == 0
    record = CacheRecord.load(tmp_path / "cache/cache.json")
    said = capsys.readouterr().out
    assert "48 cells (train, 2 views), 12 cells (eval), as float16" in said
    assert record.fingerprint[:12] in said
    assert f"composer scripts/distill.py -f {path} model.teacher.cache={tmp_path}/cache" in said


def test_without_a_folder_the_command_says_what_to_give(tmp_path, run_config, capsys):
    assert main(["cache", "-f", str(write_config(tmp_path, run_config))]) == 1
    assert "give --out FOLDER, or model.teacher.cache in the YAML" in capsys.readouterr().err
