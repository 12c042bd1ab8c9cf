"""What an edit is told: instructions, their words and steps, and checks on what models write."""
