"""The receipt of a pass: a file with one JSON object per line.

The first line has the source, the target and the time, the last one the summary. Each line in between is one original:
its folder, store name, size, SHA-256, outcome, and how the copy was verified.
"""

import json
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from assetstore.migration.runner import Summary
from assetstore.migration.state import Result
from assetstore.storage.trash_names import stamp


def new_path(folder: Path) -> Path:
    """Returns the path of a new receipt; receipts of passes that end in the same second have different names."""
    return folder / f"receipt-{stamp(time.time_ns())}.jsonl"


def row(collection_dir: str, name: str, result: Result) -> dict[str, object]:
    """Returns the line of one original, as a mapping."""
    return {"place": collection_dir, "name": name, **vars(result)}


def summary_row(summary: Summary) -> dict[str, object]:
    """Returns the last line, as a mapping."""
    outcomes = {outcome: number for outcome, number in sorted(summary.outcomes.items()) if number}
    return {"summary": {**vars(summary), "outcomes": outcomes, "is_whole": summary.is_whole}}


def write(path: Path, head: Mapping[str, object], results: Iterable[tuple[str, str, Result]], summary: Summary) -> None:
    """Writes a receipt, which gets its name when it is complete. Raises OSError."""
    draft = path.with_name(f"{path.name}.unfinished")
    with open(draft, "w", encoding="utf-8") as file:
        file.write(json.dumps(head, ensure_ascii=False) + "\n")
        for collection_dir, name, result in results:
            file.write(json.dumps(row(collection_dir, name, result), ensure_ascii=False) + "\n")
        file.write(json.dumps(summary_row(summary), ensure_ascii=False) + "\n")
        file.flush()
        os.fsync(file.fileno())
    draft.rename(path)
