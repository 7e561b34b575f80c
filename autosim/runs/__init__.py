"""One run: configuration, folder, loop, progress, closing scores, summary."""
