"""Photos found in a user's own pool, by example or by words."""
