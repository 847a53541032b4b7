"""rendering.orientation: turning pictures and regions of them, from stored to upright and back."""

from pathlib import Path

import pyvips

from assetstore.thumbnails.rendering import isolation, orientation
from assetstore.thumbnails.rendering.job import Limits

WIDTH, HEIGHT = 4, 3
PIXELS = bytes(range(WIDTH * HEIGHT))


def test_pictures_and_their_regions_are_turned_upright_and_back(tmp_path: Path) -> None:
    def check() -> str:
        stored = pyvips.Image.new_from_memory(PIXELS, WIDTH, HEIGHT, 1, "uchar")
        region, wrong = (1, 0, 2, 1), []
        for number in range(1, 9):
            upright = orientation.upright(stored, number)
            back = orientation.upright(upright, orientation.inverse(number))
            if (back.width, bytes(back.write_to_memory())) != (WIDTH, PIXELS):
                wrong.append(f"{number} back")
            part = stored.crop(*orientation.stored_region(region, number, WIDTH, HEIGHT))
            expected = bytes(upright.crop(*region).write_to_memory())
            if bytes(orientation.upright(part, number).write_to_memory()) != expected:
                wrong.append(f"region in {number}")
        return ", ".join(wrong)

    # In a process of its own, because libvips starts threads.
    assert isolation.run(check, Limits(30, 512), 20, tmp_path) == ""
