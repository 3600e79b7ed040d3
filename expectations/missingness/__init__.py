"""What is missing from a table, whether it is missing by chance, and what could fill it."""
