"""Samples in: the procedural product corpus, readers and writers of folders and shards."""
