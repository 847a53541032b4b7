"""What a person says about the thumbnails that look like none of the references: acceptance/exceptions.tsv.

Each line has the corpus, the end of the path, a verdict and a short reason. The verdicts:

- `right`: the thumbnail is right, and the references are not; the reason says by which further program, if not by eye.
- `nothing to see`: refused, and no program finds pixels in the file. It does not count as decodable.
- `wrong`: the thumbnail is wrong.
- `refused`: there is no thumbnail, although a program can decode the file.
"""

import functools
from pathlib import Path
from typing import NamedTuple

RIGHT, NOTHING, WRONG, REFUSED = "right", "nothing to see", "wrong", "refused"

_LIST = Path(__file__).with_name("exceptions.tsv")


class Judgement(NamedTuple):
    """One line of the list."""

    corpus: str
    file: str
    verdict: str
    reason: str

    def applies(self, *, has_thumbnail: bool) -> bool:
        """Whether the verdict is about such a result; a thumbnail where there was none must be judged again."""
        return has_thumbnail == (self.verdict in (RIGHT, WRONG))


@functools.cache
def all_judgements() -> tuple[Judgement, ...]:
    """Returns the lines of the list. Raises ValueError for an unknown verdict."""
    lines = _LIST.read_text("utf-8").splitlines()[1:]
    found = tuple(Judgement(*line.split("\t")) for line in lines)
    unknown = {one.verdict for one in found} - {RIGHT, NOTHING, WRONG, REFUSED}
    if unknown:
        raise ValueError(f"{_LIST.name}: unknown verdicts {unknown}")
    return found


def judgement(path: Path) -> Judgement | None:
    """Returns the line about a file, if there is one."""
    return next((one for one in all_judgements() if path.as_posix().endswith(f"/{one.file}")), None)
