"""Which originals everyone may read: the flags and embargoes of Specify, in an index beside the journal."""
