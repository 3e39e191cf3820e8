"""What must outlive a run, in private files on this machine: record, lock, journal, saved plans."""
