"""Cells through the loader of a run."""

from tahoe_distill.training.dataloader import build_tahoe_mds_dataloader

SECONDS = 60


def cells_read(dataset, vocab, workers=0):
    """Samples of an epoch; pytest's own process, so a hang would be seen as such."""
    spec = build_tahoe_mds_dataloader(
        dataset={**dataset, "download_retry": 1},
        collator={"max_length": 32},
        vocab=vocab,
        device_batch_size=8,
        num_workers=workers,
        timeout=SECONDS,
    )
    try:
        return sum(spec.get_num_samples_in_batch(batch) for batch in spec.dataloader)
    finally:
        # Left to the garbage collector, which takes it as part of a cycle, stopping workers takes 10 seconds.
        if spec.dataloader._iterator is not None:
            spec.dataloader._iterator._shutdown_workers()
