"""Every tolerance of the suite, once, with its reason."""

EXACT64 = 1e-10
"""float64 against a slow reference: some 1e4 operations of rounding 1e-16 each, in another order."""

EXACT32 = 1e-5
"""float32 against a slow reference: the same sums in another order, rounding 6e-8 each."""

PINNED = 1e-12
"""float64 formulas of a few operations, against numbers written down here."""
