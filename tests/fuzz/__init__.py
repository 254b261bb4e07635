"""Fuzzing: every parser of the daemon under bytes that nobody meant well."""
