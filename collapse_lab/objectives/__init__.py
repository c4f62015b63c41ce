"""What networks learn: each objective is a module around an encoder."""
