"""What the files of the platforms run: commands that there are, on configurations that there are.

The launchers of the platforms are stood in for, and note what they are given.
"""

import os
import re
import shlex
import subprocess

import pytest
import yaml
from mcli.models.run_config import FinalRunConfig

from mcli import RunConfig
from tahoe_distill.cli import distill
from tahoe_distill.cli.defaults import merge, with_defaults
from tahoe_distill.cli.main import build_parser
from tahoe_distill.training.run_config import check_run
from tests.helpers import REPOSITORY

MCLI = sorted((REPOSITORY / "mcli").glob("*.yaml"))
SCRIPTS = ("slurm/node.sbatch", "slurm/nodes.sbatch", "slurm/array.sbatch", "runai/distil.sh", "gcloud/vm.sh")
SIZES = ("70m", "1b", "3b")
# A launcher that starts what stands behind it goes on to it, as far as a program of this project, which is noted.
NOTE = 'printf "%s\\n" "$(printf "%q " "$0" "$@")" >> "$NOTES"'
STAND_INS = {
    "composer": NOTE,
    "tahoe-distill": NOTE,
    "srun": 'shift; export SLURM_NODEID=0; exec "$@"',
    "scontrol": "echo node1",
    "runai": f'{NOTE}; while [ "$1" != -- ]; do shift; done; shift; exec "$@"',
    "gcloud": f'if [ "$1" = secrets ]; then echo KEY=1; else {NOTE}; fi',
    "docker": 'while [ "$1" != example/image ]; do shift; done; shift; exec "$@"',
    "curl": 'case "${@: -1}" in */run) echo "$RUN";; */save-folder) echo s3://b/runs;; */image) echo example/image;; '
    "*/settings) echo max_duration=5ba;; *) echo name;; esac",
    "shutdown": "exit 0",
}


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Runs a script of bash from the repository's folder with these stand-ins; the commands that were started."""
    for name, text in STAND_INS.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{text}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.chdir(REPOSITORY)

    def run(*command, **variables):
        notes = tmp_path / "notes"
        environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "NOTES": str(notes), **variables}
        done = subprocess.run(["bash", *command], env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        lines = [shlex.split(line) for line in notes.read_text().splitlines()]
        return [[os.path.basename(line[0]), *line[1:]] for line in lines]

    return run


def checked(command):
    """A command of this project, held to what parses it; a run's settings as they would be trained with."""
    program, *arguments = command
    if program == "composer" and "-m" not in arguments:
        place = arguments.index("scripts/distill.py")
        args = distill.parse(arguments[place + 1 :])
        content, own = distill.read_run(args.config, args.overrides)
        run = merge(content, with_defaults(content, own))
        check_run(run, args.config)
        return run
    if program == "composer":
        assert arguments.pop(arguments.index("-m") + 1) == "tahoe_distill.cli.main"
        arguments = arguments[arguments.index("-m") + 1 :]
    args = build_parser().parse_args(arguments)
    if getattr(args, "config", None):
        merge(*distill.read_run(args.config, args.overrides))
    return args


def in_place(command):
    """A command whose container has the repository in /app."""
    assert command.startswith("cd /app\n")
    return command.removeprefix("cd /app\n")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("path", MCLI, ids=lambda path: path.stem)
def test_a_file_of_the_platform_runs_what_there_is(path, size, start):
    config = FinalRunConfig.finalize_config(RunConfig.from_file(str(path)))
    variables = {**config.env_variables, "RUN": size}
    assert variables.keys() == config.env_variables.keys()
    used = set(re.findall(r"\$(\w+)", config.command))
    assert used == set(variables), "a variable that is not used, or not at the top"
    found = [checked(command) for command in start("-c", in_place(config.command), **variables)]
    if path.stem == "distil":
        (run,) = found
        assert run.callbacks.distillation.checkpoint_store == f"s3://your-bucket/runs/{size}/checkpoints"
        assert run.callbacks.hf_student.folder == f"s3://your-bucket/runs/{size}/hf"
    else:
        assert [args.command for args in found] == {"cache": ["cache", "copy"], "export": ["copy", "push"]}[path.stem]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_starts_a_run_whose_results_go_to_the_save_folder(name, size, start):
    slurm = {"SLURM_JOB_ID": "7", "SLURM_JOB_NUM_NODES": "4", "SLURM_JOB_NODELIST": "n", "SLURM_ARRAY_TASK_ID": "2"}
    variables = {"RUN": size, "SAVE_FOLDER": "s3://b/runs", "IMAGE": "example/image", **slurm}
    commands = start(str(REPOSITORY / "configs" / name), "max_duration=5ba", **variables)
    if name == "gcloud/vm.sh":
        ((program, *arguments),) = commands
        assert program == "gcloud" and f"{size},save-folder=s3://b/runs" in ",".join(arguments)
        script = next(argument for argument in arguments if argument.startswith("startup-script="))
        commands = start(str(REPOSITORY / script.partition("=")[2]), **variables)
    run = checked(commands[-1])
    student = {"slurm/array.sbatch": "/medium"}.get(name, "")
    assert run.callbacks.distillation.checkpoint_store == f"s3://b/runs{student}/{size}/checkpoints"
    assert run.callbacks.hf_student.folder == f"s3://b/runs{student}/{size}/hf"
    assert run.max_duration == "5ba" and run.autoresume is True
    assert run.run_name == (f"{size}-medium" if student else f"tx1-{size}-{'medium' if size == '3b' else 'small'}")


@pytest.mark.parametrize("name", SCRIPTS)
def test_what_a_user_fills_in_stands_at_the_top(name):
    """Before the first command there are variables alone, and none of them is made up further down."""
    text = (REPOSITORY / "configs" / name).read_text()
    lines = [line for line in text.splitlines() if line and not line.startswith(("#", "set "))]
    settings = [line for line in lines if re.match(r"(export )?[A-Z_]+=\$\{[A-Z_]+:-", line)]
    assert len(settings) >= 2 and lines[: len(settings)] == settings
    assert not re.search(r"^#SBATCH", text[text.index(settings[0]) :], flags=re.MULTILINE)


def test_a_task_of_the_array_is_a_student_that_there_is():
    text = (REPOSITORY / "configs/slurm/array.sbatch").read_text()
    last = int(re.search(r"--array=0-(\d+)", text)[1])
    students = re.search(r"STUDENTS:-([\w ]+)\}", text)[1].split()
    assert len(students) == last + 1


def test_no_file_of_a_platform_repeats_a_run():
    for path in MCLI:
        assert not yaml.safe_load(path.read_text()).get("parameters")
