"""What to try next: backlog, plans, population, and what was tried before; folds over the rounds."""
