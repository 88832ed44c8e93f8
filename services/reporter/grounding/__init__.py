"""The executive summary by AI: it chooses and orders facts that code made, and says nothing of its own."""
