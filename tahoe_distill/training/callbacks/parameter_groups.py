"""Parameter groups: what the optimizer trains, and what weight decay leaves alone."""

import logging

from torch import nn

from tahoe_distill.models import Tx1GeneEncoder

log = logging.getLogger(__name__)


def group_parameters(model, optimizer):
    """Regroup an optimizer's parameters in place, before it has any state and before the model is sharded.

    llm-foundry hands every parameter of a model to the optimizer, frozen ones included, in one group. Frozen ones are
    taken out here, and what :func:`spared_from_decay` names gets a group of its own without weight decay. Groups that
    the YAML defines (``optimizer.param_groups``) keep their settings and only lose frozen parameters.

    Args:
        model: Module whose parameters the optimizer has.
        optimizer: Any optimizer of torch's interface.
    """
    groups = [{**group, "params": [p for p in group["params"] if p.requires_grad]} for group in optimizer.param_groups]
    if len(groups) == 1 and "weight_decay" in groups[0]:
        groups = _split(model, groups[0])
    optimizer.param_groups[:] = [group for group in groups if group["params"]]
    sizes = [f"{len(group['params'])} at weight decay {group.get('weight_decay')}" for group in optimizer.param_groups]
    log.info("trainable parameters by group: %s", "; ".join(sizes))


def spared_from_decay(model):
    """Names of the parameters that weight decay leaves alone: vectors (norms, biases), embeddings, the gene table.

    A row of a table is trained only by cells that have its gene, and decay would shrink it in every other batch.
    """
    spared = set()
    for prefix, module in model.named_modules():
        # The factorised gene table is an embedding and a matrix; both are the table.
        whole = isinstance(module, (nn.Embedding, Tx1GeneEncoder))
        for name, parameter in module.named_parameters(prefix, recurse=isinstance(module, Tx1GeneEncoder)):
            if whole or parameter.dim() < 2:
                spared.add(name)
    return spared


def _split(model, group):
    spared = spared_from_decay(model)
    ids = {id(parameter) for name, parameter in model.named_parameters() if name in spared}
    decayed = [parameter for parameter in group["params"] if id(parameter) not in ids]
    kept = [parameter for parameter in group["params"] if id(parameter) in ids]
    return [{**group, "params": decayed}, {**group, "params": kept, "weight_decay": 0.0}]
