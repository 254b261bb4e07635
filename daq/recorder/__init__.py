"""The recorder process: from the journal to files that people open, and out of those files."""
