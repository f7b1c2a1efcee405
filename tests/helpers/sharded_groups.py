"""For two processes: train whole, and in two parts with a checkpoint between, full and sharded; write what came out."""

import sys
from pathlib import Path

import torch
import yaml
from composer.utils import dist
from llmfoundry.command_utils.train import train_from_yaml
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

from tahoe_distill.training.callbacks.hf_student import HFStudentCallback


def fit(config, folder, kind, name, **settings):
    """Weights after a run, the optimizer's groups by parameter name, and the best evaluation."""
    export = {"folder": str(folder / name), "overwrite": True, "verify": False, "best": "eval/centered_cosine"}
    run = {**config, **settings, "fsdp_config": {"state_dict_type": kind}, "run_name": kind}
    run["callbacks"] = {"distillation": {}, "hf_student": export}
    path = folder / f"{name}-{dist.get_global_rank()}.yaml"
    path.write_text(yaml.safe_dump(run))
    trainer = train_from_yaml(str(path))
    model, (optimizer,) = trainer.state.model, trainer.state.optimizers
    weights = get_model_state_dict(model, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
    names = {parameter: parameter_name for parameter_name, parameter in model.named_parameters()}
    groups = [(group["weight_decay"], sorted(names[p] for p in group["params"])) for group in optimizer.param_groups]
    (callback,) = (callback for callback in trainer.state.callbacks if isinstance(callback, HFStudentCallback))
    trainer.close()
    return {"weights": weights, "groups": groups, "best": callback.best.record()}


def main(path):
    """Train what the YAML ``path`` says, and write ``found.pt`` beside it."""
    config, folder = yaml.safe_load(path.read_text()), path.parent
    found = {"whole": fit(config, folder, "full", "whole")}
    for kind in ("full", "sharded"):
        save = {"save_folder": str(folder / kind), "save_interval": "2ba", "autoresume": True, "save_overwrite": True}
        fit(config, folder, kind, f"{kind}-half", max_duration="2ba", **save)
        found[kind] = fit(config, folder, kind, f"{kind}-resumed", **save)
    if dist.get_global_rank() == 0:
        torch.save(found, folder / "found.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
