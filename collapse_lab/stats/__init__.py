"""What is remembered about activations: exact, mergeable statistics of one site."""
