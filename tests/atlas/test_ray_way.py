"""Actors of a Ray cluster: what they write is what the plain way writes, whoever is killed."""

import os
import signal
import subprocess
import sys
import threading
import time

import anndata
import numpy as np
import pytest

from tahoe_distill import __version__
from tahoe_distill.atlas import embed_atlas
from tahoe_distill.atlas.ledger import Ledger
from tahoe_distill.atlas.ray_way import Cluster, RaySettings, refuse_node
from tahoe_distill.embedding.partial import folder_of
from tests.helpers import REPOSITORY

pytest.importorskip("ray")

SMALL = {"object_store_memory": 80 << 20, "memory": 1 << 30}
DRIVER = """
import sys
from tahoe_distill.atlas import embed_atlas
from tahoe_distill.atlas.ray_way import RaySettings
ray = RaySettings(sys.argv[1], memory=0.2)
embed_atlas(sys.argv[4:], sys.argv[2], sys.argv[3], window=1, on_error="skip", ray=ray)
"""


@pytest.fixture(scope="module")
def cluster():
    """A head that takes no actors, and a node for one of them."""
    from ray.cluster_utils import Cluster as Nodes

    patch = pytest.MonkeyPatch()
    # Nodes find the package as this process does, installed or not.
    patch.setenv("PYTHONPATH", os.pathsep.join([str(REPOSITORY), os.environ.get("PYTHONPATH", "")]))
    # Ray's workers are nice by default, and starve where others work too.
    patch.setenv("RAY_worker_niceness", "0")
    quick = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 1000, "health_check_failure_threshold": 8}
    nodes = Nodes(
        initialize_head=True,
        head_node_args={"num_cpus": 0, "include_dashboard": False, "_system_config": quick, **SMALL},
    )
    nodes.add_node(num_cpus=1, **SMALL)
    yield nodes
    import ray

    ray.shutdown()
    nodes.shutdown()
    patch.undo()


def settings(cluster, **more):
    return RaySettings(cluster.address, memory=0.2, **more)


def wait_for(ledger, count, process=None):
    deadline = time.time() + 300
    while len(ledger.done()) < count:
        assert time.time() < deadline and (process is None or process.poll() is None), "no window was finished"
        time.sleep(0.02)


def test_whatever_is_killed_the_bytes_are_those_of_the_plain_way(cluster, sources, student, tmp_path, bytes_of):
    """The driver first, in the middle; then, of the command that carries on, one of two nodes. One file is bad."""
    cells = anndata.read_h5ad(sources / "c.h5ad")
    cells.X.data[-1] = np.nan
    cells.write_h5ad(tmp_path / "bad.h5ad")
    out, paths = tmp_path / "atlas.zarr", [*sorted(map(str, sources.iterdir())), str(tmp_path / "bad.h5ad")]
    ledger = Ledger(folder_of(out))
    driver = subprocess.Popen([sys.executable, "-c", DRIVER, cluster.address, str(student), str(out), *paths])
    try:
        wait_for(ledger, 1, driver)
    finally:
        driver.send_signal(signal.SIGKILL)
        driver.wait()
    done = {window: ledger.path(window).stat().st_mtime_ns for window in ledger.done()}
    assert not out.exists() and 1 <= len(done) < 50
    doomed = cluster.add_node(num_cpus=1, **SMALL)
    kill = threading.Thread(target=kill_in_the_middle, args=(cluster, doomed, ledger, len(done) + 20, kept := {}))
    kill.start()
    found = embed_atlas(paths, student, out, window=1, on_error="skip", ray=settings(cluster))
    kill.join()
    assert found.cells == 86 and "found NaN values" in found.skipped[paths[-1]]
    assert {window: kept[window] for window in done} == done, "a window was done twice"
    same = tmp_path / "plain.zarr"
    embed_atlas(paths, student, same, window=1, on_error="skip")
    assert bytes_of(out) == bytes_of(same)


def kill_in_the_middle(cluster, node, ledger, count, kept):
    """Kill a node without a word once so many windows are done, and note when they were."""
    wait_for(ledger, count)
    cluster.remove_node(node, allow_graceful=False)
    for window in ledger.done():
        kept[window] = ledger.path(window).stat().st_mtime_ns


def test_actors_that_fit_nowhere_are_not_waited_for(cluster, sources, student, tmp_path):
    with pytest.raises(
        ValueError, match=r"no node has room for an actor of 3 cores and 0.2 GB: .* has 1 cores, 1.0 GB"
    ):
        embed_atlas(sources / "a.h5ad", student, tmp_path / "a.zarr", ray=settings(cluster, cores=3))


def test_no_cluster_at_the_address(sources, student, tmp_path):
    with pytest.raises(ValueError, match="there is no Ray cluster at 127.0.0.1:9 .*ray start --head"):
        embed_atlas(sources / "a.h5ad", student, tmp_path / "a.zarr", ray=RaySettings("127.0.0.1:9"))
    assert not list(tmp_path.iterdir())


def test_nodes_that_will_not_do_are_named():
    refuse_node("n1 (10.0.0.1)", {"version": __version__, "missing": []})
    with pytest.raises(ValueError, match=rf"node n1 has tahoe-distill 0.0.1, this process {__version__}"):
        refuse_node("n1", {"version": "0.0.1", "missing": []})
    with pytest.raises(ValueError, match="node n1 does not have tahoe-distill"):
        refuse_node("n1", {"version": None, "missing": []})
    with pytest.raises(ValueError, match="node n1 does not see /models/student and 1 more paths; put model"):
        refuse_node("n1", {"version": __version__, "missing": ["/models/student", "/atlas/a.h5ad"]})


def test_the_kind_of_device_is_the_cluster_s_and_not_the_driver_s():
    def of(gpus):
        return Cluster(None, RaySettings(), [{"Resources": {"CPU": 8.0, "memory": 9e9, "GPU": gpus}}])

    assert of(2.0).device("auto") == "cuda" and of(2.0).device("cpu") == "cpu" and of(0).device("auto") == "cpu"
    assert of(2.0).room("cuda") == 2 and of(2.0).room("cpu") == 4
    with pytest.raises(ValueError, match="no node of the cluster has a GPU"):
        of(0).device("cuda")
