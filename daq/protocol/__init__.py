"""The protocol language: file -> program -> engine."""
