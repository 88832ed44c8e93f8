"""What `piperoll restore` does: what is damaged, where the right bytes are, and how they come back."""
