"""Outcomes of a migration for each original, and how the copy was verified."""

#: Outcomes of originals that are at the target:
COPIED, REPLACED, EQUAL, UNCHANGED, REPAIRED = "copied", "replaced", "equal", "unchanged", "repaired"

#: Outcomes of originals that are not:
CONFLICT, FAILED = "conflict", "failed"

#: Deleted at the source after it was copied: only reported, or moved to the target's trash.
DELETED, REMOVED = "deleted", "removed"

DONE = (COPIED, REPLACED, EQUAL, UNCHANGED, REPAIRED)

#: What each outcome means.
MEANINGS = {
    COPIED: "is new at the target",
    REPLACED: "was copied before, and has changed at the source",
    EQUAL: "was already at the target; all bytes were compared",
    UNCHANGED: "was copied by an earlier pass, and has not changed on either side",
    REPAIRED: "was damaged at the target, and has been copied again",
    CONFLICT: "the target has a different file with this name, which this migration did not copy",
    FAILED: "could not be copied",
    DELETED: "was deleted at the source, but is still at the target",
    REMOVED: "was deleted at the source, and moved to the target's trash",
}

#: How the copy was verified.
READ_BACK, STORED_CHECKSUM = "read-back", "stored"
