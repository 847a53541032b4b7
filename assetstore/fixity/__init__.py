"""Fixity: whether originals still have the bytes that were stored.

`verification` compares them with the checksums in the journal, `schedule` runs that in the background, and
`unjournaled` finds changes that are missing from the journal, by what lies in the trash.
"""
