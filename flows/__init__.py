"""Orchestration: the command line, the Prefect flows and their schedules."""
