"""Samples in: the procedural product corpus, and readers and writers of picture-and-text folders and shards."""
