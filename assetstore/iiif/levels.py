"""The sizes at which a picture is offered: each level has half the width and height of the one before."""

#: The side of a tile in pixels.
TILE = 512

#: The largest picture that is returned at once: its longer side, and its area in pixels.
MAX_SIDE, MAX_AREA = 10_000, 25_000_000

#: The smallest size that is offered, in pixels of the longer side.
_LEAST = 100


def scale_factors(width: int, height: int) -> list[int]:
    """Returns the factors by which tiles can be reduced: 1, 2, 4 … until the whole picture fits into one tile."""
    factors = [1]
    while max(width, height) > TILE * factors[-1]:
        factors.append(2 * factors[-1])
    return factors


def sizes(width: int, height: int) -> list[tuple[int, int]]:
    """Returns the sizes of the whole picture that are offered, smallest first; at least one."""
    found: list[tuple[int, int]] = []
    factor = 1
    while True:
        size = (max(1, -(-width // factor)), max(1, -(-height // factor)))
        if max(size) <= _LEAST and found:
            break
        if is_allowed(*size):
            found.append(size)
        if max(size) <= _LEAST:
            break
        factor *= 2
    return found[::-1]


def is_allowed(width: int, height: int) -> bool:
    """Says whether a picture of this size may be returned at once."""
    return max(width, height) <= MAX_SIDE and width * height <= MAX_AREA


def largest(width: int, height: int) -> tuple[int, int]:
    """Returns the largest size with this aspect ratio that may be returned at once, and is not larger than given."""
    factor = min(1.0, MAX_SIDE / max(width, height), (MAX_AREA / (width * height)) ** 0.5)
    return max(1, int(width * factor)), max(1, int(height * factor))
