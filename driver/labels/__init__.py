"""Hand labels: the page that asks for them, and their figures."""
