"""What is printed and drawn from the figures of runs: tables, a page, a PDF, a comparison.

| module | does |
|---|---|
| data | reads one run, from its closed file or from the journal |
| summary | all figures of one run |
| document | the same, ready for JSON |
| identity, tables | the same as rows of text |
| curves, drawing, impedance | pictures, collected by `pictures` |
| page | one self-contained HTML page |
| pdf | the same on paper |
| comparison, batch_picture | several runs side by side: spread, yield, a picture |
"""
