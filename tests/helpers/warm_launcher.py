"""Forks training runs on request: a JSON line in on stdin starts one, a JSON line out on stdout ends it.

It imports what a run imports before it forks, and does nothing else that a fork would carry along: no threads, no
random numbers, no temporary files.
"""

import atexit
import contextlib
import json
import os
import runpy
import signal
import socket
import sys
import tempfile
import time
import traceback

import llmfoundry.command_utils.train  # noqa: F401

import tahoe_distill.training.callbacks.distillation  # noqa: F401


def free_port():
    """A port for the rendezvous."""
    with contextlib.closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def be_rank(request, rank, group, log, port):
    """What a forked process does: become rank ``rank`` and run the script; never returns."""
    code = 1
    try:
        os.setpgid(0, group)
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((nothing, 0), (output, 1), (output, 2)):
            os.dup2(source, target)
        os.chdir(request["folder"])
        os.environ.clear()
        os.environ.update(request["environment"])
        size = str(request["processes"])
        os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=size, LOCAL_WORLD_SIZE=size, NODE_RANK="0")
        os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), PYTHONUNBUFFERED="1")
        # Python remembers the temporary folder of the first time it was asked.
        tempfile.tempdir = None
        sys.argv = [request["script"], *request["arguments"]]
        runpy.run_path(request["script"], run_name="__main__")
        code = 0
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def wait(ranks, seconds):
    """Exit code of the first rank that fails, 0 when all end well; the others are killed with it."""
    waiting, end = set(ranks), time.monotonic() + seconds
    code = 0
    while waiting and not code and time.monotonic() < end:
        for rank in list(waiting):
            pid, status = os.waitpid(rank, os.WNOHANG)
            if pid:
                waiting.discard(pid)
                code = code or os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(ranks[0], signal.SIGKILL)
    for rank in waiting:
        os.waitpid(rank, 0)
    return code or (-signal.SIGALRM if waiting else 0)


def run(request):
    """One run: its number, its exit code (negative for a signal) and the logs of its ranks."""
    port, ranks = free_port(), []
    logs = [os.path.join(request["folder"], f"rank{rank}-{time.time_ns()}.log") for rank in range(request["processes"])]
    for rank, log in enumerate(logs):
        group = ranks[0] if ranks else 0
        pid = os.fork()
        if not pid:
            be_rank(request, rank, group, log, port)
        # Here too, so that the group exists before the next rank wants to join it.
        with contextlib.suppress(PermissionError):
            os.setpgid(pid, group or pid)
        ranks.append(pid)
    return {"number": request["number"], "code": wait(ranks, request["seconds"]), "logs": logs}


def serve():
    """A process for each request, so that runs go side by side."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        if os.fork():
            continue
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        output = json.dumps(run(json.loads(line))) + "\n"
        # One write, so that the outputs of two runs do not mix.
        os.write(1, output.encode())
        os._exit(0)


if __name__ == "__main__":
    serve()
