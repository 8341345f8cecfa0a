"""What an agent's session finds, what it may not leave behind, and how it can end."""
