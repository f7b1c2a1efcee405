"""Lets a YAML state only how it differs from another, the base that its ``variables.base`` names.

The YAML lists this file under ``code_paths``, which llm-foundry imports before it reads the rest.
"""

from llmfoundry.registry import config_transforms

from tahoe_distill.cli.defaults import on_base

# A run that names no base is left as it is.
config_transforms.register("tahoe_distill_base", func=on_base)
