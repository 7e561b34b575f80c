"""A small third-party package: an environment and an algorithm that autosim finds through entry points."""
