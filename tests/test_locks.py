"""Folders held by one process: live ones refused, dead ones taken over, those of other machines left alone."""

import dataclasses
import json
import multiprocessing
import os
import signal
import subprocess
import sys

import pytest

from tahoe_distill import locks
from tahoe_distill.locks import LOCK_FILE, FolderInUseError, Holder, held, holder_of

HOLD = """
import sys, time
from tahoe_distill.locks import held
with held(sys.argv[1], "run a"):
    print("held", flush=True)
    time.sleep(60)
"""


def write(folder, **changes):
    holder = dataclasses.replace(Holder.here("run a"), **changes)
    (folder / LOCK_FILE).write_text(json.dumps(dataclasses.asdict(holder)))


def test_a_folder_is_held_and_given_back(tmp_path):
    folder = tmp_path / "new" / "runs"
    with held(folder, "run a"):
        assert holder_of(folder).what == "run a"
        with (
            pytest.raises(FolderInUseError, match=rf"run a \(process {os.getpid()} on .*wait until it has ended"),
            held(folder, "b"),
        ):
            pass
    assert holder_of(folder) is None
    assert list(folder.iterdir()) == []


def test_an_error_inside_gives_the_folder_back(tmp_path):
    with pytest.raises(KeyError), held(tmp_path, "run a"):
        raise KeyError("x")
    assert holder_of(tmp_path) is None


def test_the_lock_of_a_killed_process_is_taken_over(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", HOLD, tmp_path], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    with pytest.raises(FolderInUseError, match=f"process {process.pid}"), held(tmp_path, "run b"):
        pass
    process.send_signal(signal.SIGKILL)
    process.wait()
    with held(tmp_path, "run b"):
        assert holder_of(tmp_path).what == "run b"


def test_a_process_id_that_is_used_again_is_not_the_holder(tmp_path):
    write(tmp_path, started=1)
    with held(tmp_path, "run b"):
        assert holder_of(tmp_path).what == "run b"


def test_a_lock_of_another_machine_is_refused_with_the_way_out(tmp_path):
    write(tmp_path, host="node7", machine="node7 another boot")
    with (
        pytest.raises(FolderInUseError, match=rf"on node7.*cannot be seen from .*remove .*{LOCK_FILE}"),
        held(tmp_path, "b"),
    ):
        pass
    assert holder_of(tmp_path).host == "node7"


def test_an_unreadable_lock_is_refused(tmp_path):
    (tmp_path / LOCK_FILE).write_text("{")
    with pytest.raises(FolderInUseError, match="cannot be read.*remove it if nobody does"), held(tmp_path, "b"):
        pass


def test_a_lock_that_another_one_took_meanwhile_stays(tmp_path):
    with held(tmp_path, "run a"):
        write(tmp_path, pid=1, started=1, what="run b")
    assert holder_of(tmp_path).what == "run b"


def race(folder, gate, results):
    gate.wait()
    try:
        with held(folder, "racer"):
            results.put("held")
            gate.wait()
    except FolderInUseError:
        results.put("refused")
        gate.wait()


def test_of_many_that_start_at_once_one_gets_it(tmp_path):
    write(tmp_path, started=1)
    context = multiprocessing.get_context("fork")
    gate, results = context.Barrier(6), context.Queue()
    racers = [context.Process(target=race, args=(tmp_path, gate, results)) for _ in range(6)]
    for racer in racers:
        racer.start()
    found = sorted(results.get(timeout=30) for _ in racers)
    for racer in racers:
        racer.join()
    assert found == ["held"] + 5 * ["refused"]
    assert os.listdir(tmp_path) == []


def test_a_full_disk_leaves_nothing(tmp_path, monkeypatch):
    def link(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(locks.os, "link", link)
    with pytest.raises(OSError, match="No space left"), held(tmp_path, "run a"):
        pass
    assert os.listdir(tmp_path) == []


def test_without_links_the_lock_is_made_another_way(tmp_path, monkeypatch):
    def link(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(locks.os, "link", link)
    with held(tmp_path, "run a"), pytest.raises(FolderInUseError, match="is held by run a"), held(tmp_path, "run b"):
        pass
    assert os.listdir(tmp_path) == []
