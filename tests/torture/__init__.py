"""Long tests, in boxes: the short one runs with all the others, `make torture` opens it."""
