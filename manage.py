#!/usr/bin/env python3
"""The administrator's commands: `python manage.py --help`.

They use the same settings and folders as the server, and can run while it is running.
"""

import sys
from pathlib import Path

from assetstore import commands

if __name__ == "__main__":
    sys.exit(commands.main(sys.argv[1:], Path(__file__).resolve().parent))
