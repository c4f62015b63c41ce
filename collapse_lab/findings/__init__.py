"""What the numbers say: tables, intervals, nulls, comparisons and the diagnosis."""
