"""The configuration of a made-up run, as an export records it."""

RUN = {
    "run_name": "my-student",
    "seed": 17,
    "max_duration": "600ba",
    "model": {"teacher": "tx1-nano", "student": {"hidden_size": 8}, "objectives": {"cosine": {"weight": 1.0}}},
    "train_loader": {"name": "tahoe_mds", "dataset": {"remote": "s3://cells/train"}},
    "eval_loader": {"name": "tahoe_mds", "dataset": {"remote": "s3://cells/val"}},
}
