"""The command groups: one module a group, each with its Typer `app`."""
