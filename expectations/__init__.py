"""What must be true of the data: rules, their gate on a build, and the report."""
