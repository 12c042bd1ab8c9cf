"""Whether an edit counts: pixels, what verifiers and judges say, and what becomes of it."""
