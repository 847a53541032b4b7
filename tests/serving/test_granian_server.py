"""serving.granian_server: how workers are replaced. tests/test_processes.py has more of it, with the whole program."""

import subprocess
import sys
from pathlib import Path

from tests.support import PROJECT

#: Runs a server whose only worker always uses more memory than it may. WORKER_MEMORY does not accept less than 64.
PROGRAM = """
import dataclasses, sys
import server
from assetstore.app import run
from assetstore.monitoring import logs
from assetstore.serving import granian, granian_server
from tests.support import PROJECT, load_settings
granian_server._MEMORY_SECONDS = 1
granian._HANDOVER_SECONDS = 0.02
own = {"BASE_DIR": sys.argv[1], "SERVER": "granian", "KEY": "k", "PORT": 0, "BIND_ADDRESS": "127.0.0.1"}
logs.set_up("plain", False)
run.serve(dataclasses.replace(load_settings(own), worker_memory=1), PROJECT, server.make_app, lambda **_named: None)
"""


def test_a_worker_that_uses_too_much_memory_is_replaced_and_the_log_says_so(tmp_path: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout
        try:
            assert any("more than WORKER_MEMORY were replaced: 1" in line for line in process.stdout)
        finally:
            process.terminate()
        process.stdout.read()
    assert process.returncode == 0
