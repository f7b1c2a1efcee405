"""Distillation under Composer and llm-foundry: the model, the dataloader builder, the callbacks."""
