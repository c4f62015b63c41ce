"""Questions: arms x seeds, run where they are missing, compared and told."""
