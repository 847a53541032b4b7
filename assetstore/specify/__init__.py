"""Specify's own attachment records, and how they compare with the files in the store.

`table` reads the records from a CSV export and `database` reads them from Specify's database; neither changes
anything. `comparison` reports what does not match, and `plan` corrects it with the help of the trash, once somebody
has reviewed the plan.
"""
