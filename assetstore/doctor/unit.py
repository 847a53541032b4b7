"""The systemd unit of a server on this machine."""

import subprocess
from pathlib import Path

#: The unit's name, as in deploy/ and docs/install.md.
UNIT = "web-asset-server.service"

_TIMEOUT_SECONDS = 10.0


def should_run(folder: Path) -> bool:
    """Whether systemd has a unit that runs the server of *folder*, and that is enabled or was started.

    False if there is no systemd, as in a container.
    """
    command = ["systemctl", "show", UNIT, "--property=UnitFileState,ActiveState,WorkingDirectory"]
    try:
        run = subprocess.run(  # noqa: S603 - a constant
            command, capture_output=True, text=True, check=False, timeout=_TIMEOUT_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    shown = dict(line.partition("=")[::2] for line in run.stdout.splitlines())
    is_enabled = shown.get("UnitFileState", "").startswith("enabled")
    is_started = shown.get("ActiveState", "inactive") != "inactive"
    return (is_enabled or is_started) and Path(shown.get("WorkingDirectory", "").lstrip("!")) == folder
