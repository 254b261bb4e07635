"""Buses: the threads that own lines, and what a line is made of."""
