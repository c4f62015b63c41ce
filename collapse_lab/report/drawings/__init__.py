"""Figures for a paper, one function each: arms in, a matplotlib figure of a column's width out."""
