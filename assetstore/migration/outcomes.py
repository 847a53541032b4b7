"""What became of an original in a migration, and how it was checked."""

#: What became of an original. These are done:
COPIED, REPLACED, EQUAL, UNCHANGED, REPAIRED = "copied", "replaced", "equal", "unchanged", "repaired"

#: These are not:
CONFLICT, FAILED = "conflict", "failed"

#: Gone from the source since it was copied: only said, or moved to the target's trash.
DELETED, REMOVED = "deleted", "removed"

DONE = (COPIED, REPLACED, EQUAL, UNCHANGED, REPAIRED)

#: What each outcome means.
MEANINGS = {
    COPIED: "is new at the target",
    REPLACED: "was copied before, and has changed at the source",
    EQUAL: "was at the target already; all bytes were compared",
    UNCHANGED: "was copied by an earlier pass, and has changed on neither side",
    REPAIRED: "was damaged at the target",
    CONFLICT: "the target has other bytes under this name, which this migration did not put there",
    FAILED: "could not be copied",
    DELETED: "is no longer at the source, but still at the target",
    REMOVED: "is no longer at the source, and went to the target's trash",
}

#: How it was made sure that the right bytes arrived.
READ_BACK, STORED_CHECKSUM = "read-back", "stored"
