"""From videos on disk to records: download, split, extract, validate, write."""
