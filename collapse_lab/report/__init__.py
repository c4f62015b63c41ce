"""How it looks: figures, words and the page."""
