"""Every tolerance of the suite, once, with its reason."""

EXACT64 = 1e-10
"""float64 against a slow reference: some 1e4 operations of rounding 1e-16 each, in another order."""

EXACT32 = 1e-5
"""float32 against a slow reference: the same sums in another order, rounding 6e-8 each."""

PINNED = 1e-12
"""float64 formulas of a few operations, against numbers written down here."""

ORDER = 1e-12
"""The same float64 sums in another order or split; absolute too, where a mean cosine is near 0."""

ROUNDED_ROWS = 1e-6
"""Rows kept in float32: 6e-8 each, through a difference from their mean."""

HUGE_OFFSET = 1e-6
"""An offset 1e3 times the deviation costs float64 data 3 digits of 16, and its square in a second moment 6."""

HALF_ONCE = 0.02
"""One layer in bfloat16 against the same rounded elsewhere: 4e-3 for its inputs, its result and its gradient each."""

NULL_WAVERS = 0.06
"""20 draws of a Wishart matrix at some 10 rows a channel, against one sample."""

SAMPLING = 0.08
"""Moments of some 2,000 random rows against those of their population: a few over sqrt(2000)."""

HALF = 0.1
"""Gradients of a small network in bfloat16 against float32: rounding 4e-3, through some ten layers and back."""

NULL_IN_BLOCKS = 0.01
"""A spectrum drawn in blocks of 64 to 128 against 4 whole matrices of 256: measured within 0.5 %."""

EDGE_OF_CHANCE = 0.05
"""The mean largest eigenvalue of 400 x 100 unrelated numbers lies n^(-2/3) below the edge of infinitely many."""

RANKS64 = 1e-9
"""Ten float64 steps whose batch was halved: gradients summed in another order, through AdamW's division by a root."""

RANKS32 = 1e-5
"""Three float32 losses of such steps: rounding 6e-8 each, before the steps drive it apart."""

ACCUMULATED = 1e-6
"""A float32 loss of a batch computed in parts: the same sums in another order, rounding 6e-8 each."""

GREY_LEVEL = 1.01
"""Pixels scaled along two axes in 8 bits, each rounded by half a level, against a formula rounded nowhere."""
