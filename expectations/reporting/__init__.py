"""The report's parts: what changed, what each page shows, and the pages themselves."""
