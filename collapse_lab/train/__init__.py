"""How networks learn: configuration, order, optimiser, checkpoints and the loop."""
