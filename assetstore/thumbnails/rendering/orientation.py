"""The orientation of pictures (EXIF 2.32, 4.6.4, tag 274): from pixels as they are stored to an upright picture.

The numbers are those of the tag: 1 is upright, 2 is mirrored, 3 is upside down, 6 must be turned to the right, …
"""

from typing import Any

Region = tuple[int, int, int, int]

#: Orientation -> the operation of libvips that turns the stored pixels, and the direction to mirror them in afterwards.
_STEPS = {
    2: ("", "horizontal"),
    3: ("rot180", ""),
    4: ("", "vertical"),
    5: ("rot90", "horizontal"),
    6: ("rot90", ""),
    7: ("rot270", "horizontal"),
    8: ("rot270", ""),
}

#: The orientations that the others undo; all others undo themselves.
_INVERSE = {6: 8, 8: 6}


def swaps_sides(orientation: int) -> bool:
    """Says whether the width of the upright picture is the height of the stored one."""
    return orientation >= 5


def known(orientation: object) -> int:
    """Returns the orientation, or 1 if it is invalid."""
    return orientation if isinstance(orientation, int) and orientation in _STEPS else 1


def upright(picture: Any, orientation: int) -> Any:
    """Returns an image of libvips, as it is stored, upright. It must allow random access unless it is upright."""
    turn, direction = _STEPS.get(orientation, ("", ""))
    if turn:
        picture = getattr(picture, turn)()
    return picture.flip(direction) if direction else picture


def inverse(orientation: int) -> int:
    """Returns the orientation that turns an upright picture back to how it is stored."""
    return _INVERSE.get(orientation, orientation)


def stored_region(region: Region, orientation: int, width: int, height: int) -> Region:
    """Returns where a region of the upright picture is in the stored one.

    Parameters:
        region: left, top, width and height in the upright picture.
        orientation: of the stored picture.
        width, height: of the stored picture.
    """
    x, y, w, h = region
    right, bottom = width - x - w, height - y - h
    if not swaps_sides(orientation):
        return (right if orientation in (2, 3) else x, bottom if orientation in (3, 4) else y, w, h)
    # x and y are in the other direction here.
    left = width - y - h if orientation in (7, 8) else y
    top = height - x - w if orientation in (6, 7) else x
    return left, top, h, w
