"""What a lab knows of its cells, batches and released protocols: files in its data folder.

    <data>/cells/C-0042.yaml             a cell, as it would stand in a lab file
    <data>/cells/history/C-0042.jsonl    every text that this file ever had: when, who, why
    <data>/batches/B2025-07.yaml         the same for batches
    <data>/released/NAME/1.2.0.yaml      a released protocol, never changed again
    <data>/released/NAME/1.2.0/files/    what it includes and plays, under the same hash
    <data>/released/NAME/history.jsonl   what was released, rolled out and rolled back

Files, so that a person can read, compare and back them up with the tools they have; whoever needs
one reads it at that moment, so a change holds from the next start of a run on.
"""
