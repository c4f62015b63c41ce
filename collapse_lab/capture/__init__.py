"""What is remembered: sites of any model, hooks that always come off, and the capture on disk."""
