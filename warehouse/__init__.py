"""Storage and compute: settings, landing, lake, readers, builds, releases, features, query."""
