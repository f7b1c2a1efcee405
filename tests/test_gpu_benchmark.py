"""`benchmarks/gpu.py` at its smallest on a CPU, without the packages of training."""

import json
import subprocess
import sys

from tests.helpers import REPOSITORY

# What a machine with PyTorch and transformers alone has not.
BARE = """
import runpy, sys
for name in ("composer", "llmfoundry", "streaming", "anndata", "scanpy", "sklearn"):
    sys.modules[name] = None
sys.argv[:] = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_it_runs_and_every_way_is_right(tmp_path):
    script, found, results = REPOSITORY / "benchmarks/gpu.py", tmp_path / "gpu.json", tmp_path / "RESULTS.md"
    options = ["--tiny", "--device", "cpu", "--json", found, "--results", results]
    done = subprocess.run(
        [sys.executable, "-c", BARE, script, *options], capture_output=True, text=True, timeout=300, cwd=tmp_path
    )
    assert done.returncode == 0, done.stdout + done.stderr
    numbers = json.loads(found.read_text())
    checks = {(row["attention"], row["packed"], row["masked genes"]): row for row in numbers["checks"]}
    assert len(checks) == 12
    for (way, _, _), row in checks.items():
        assert row.get("right") or way == "flash_attention_2" and "Error" in row["skipped"], row
    rows = [row for row in numbers["rows"] if "skipped" not in row]
    assert {row["what"] for row in rows} >= {"70m, forward", "student small, training"}
    assert all(row["cells/s"] > 0 and row["of matrices"] > 0 for row in rows if "TFLOP/s" in row)
    assert any(row["attention"] == "sdpa, packed" for row in rows)
    skipped = [row for row in numbers["rows"] if "skipped" in row]
    assert [row["what"] for row in skipped] == ["embedding from a file"]
    assert "## no GPU" in results.read_text() and "| 70m, forward | 24 | full | sdpa |" in results.read_text()
