"""Many runs that differ in a few settings: which are best, how sure that is, and the run to start next."""

from tahoe_distill.lazy import hand_out

# Name -> module that defines it.
_PUBLIC = {
    "Dimension": "tahoe_distill.sweeps.space",
    "Study": "tahoe_distill.sweeps.study",
    "SweepSpec": "tahoe_distill.sweeps.spec",
    "Worker": "tahoe_distill.sweeps.work",
    "draw_results": "tahoe_distill.sweeps.paper",
    "read_trials": "tahoe_distill.sweeps.results",
    "trial_figures": "tahoe_distill.sweeps.figures",
    "write_results": "tahoe_distill.sweeps.results",
}

__all__ = [*_PUBLIC]
__getattr__, __dir__ = hand_out(__name__, _PUBLIC)
