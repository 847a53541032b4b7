"""Specify's attachment records, and their comparison with the files in the store.

`table` reads the records from a CSV export, `database` from Specify's database; both are read-only. `comparison`
reports mismatches. `plan` writes them to a repair plan, and after its review moves files to the trash or restores them.
"""
