"""What stands between the activation and the projection of a block: GRN, its ablations, its rivals."""
