"""What the sandboxes are built from: the one door of a namespace, containers, profiles, and parcels of files."""
