"""A seeded injector of faults, and the share of them that is found before anything is published."""
