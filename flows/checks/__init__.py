"""The checks of `clearwater doctor`, a module for each thing that they look at."""
