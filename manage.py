#!/usr/bin/env python3
"""The administrator's commands: `python manage.py --help`, or `asset-admin --help` if installed as a package.

They use the same settings and folders as the server, and can run while it is running.
"""

import sys
from pathlib import Path

from assetstore import commands


def main() -> int:
    """Runs the command of the command line and returns its exit status."""
    return commands.main(sys.argv[1:], Path(__file__).resolve().parent)


if __name__ == "__main__":
    sys.exit(main())
