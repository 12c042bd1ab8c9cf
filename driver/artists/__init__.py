"""Artists' graphs: adopted, collected from, and rows opened again."""
