"""Search for a bespoke server: propose, edit, commit, assess, decide, record."""
