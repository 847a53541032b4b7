"""Files that libvips writes for tests.

It does so in a process of its own: libvips starts threads, and if this process had them, the render processes that some
tests fork from it would hang.
"""

import json
import subprocess
import sys
from typing import Any

from PIL import Image

from tests import pictures

_SCRIPT = """
import json, sys
import pyvips

kind, colours, options = sys.argv[1:]
picture = pyvips.Image.new_from_buffer(sys.stdin.buffer.read(), "").colourspace(colours)
sys.stdout.buffer.write(getattr(picture, f"{kind}save_buffer")(**json.loads(options)))
"""


def saved(picture: Image.Image, kind: str = "tiff", colours: str = "srgb", **options: Any) -> bytes:
    """Returns a picture as libvips saves it in this format, with these colours (such as rgb16) and options."""
    command = [sys.executable, "-c", _SCRIPT, kind, colours, json.dumps(options)]
    uncompressed = pictures.encoded(picture, "PNG", compress_level=0)
    return subprocess.run(command, input=uncompressed, stdout=subprocess.PIPE, check=True).stdout
