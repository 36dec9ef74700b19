"""What a user loads and calls; each file says in its first lines how it differs from the others."""
