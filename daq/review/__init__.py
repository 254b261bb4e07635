"""What can be said of a protocol without running it: what cannot work, and how versions differ."""
