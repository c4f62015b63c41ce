"""Features with a known fault, or a known absence of one, each a function of random numbers and a size.

They are written from the definitions of the kinds alone, outside the band where either answer is right.
"""
