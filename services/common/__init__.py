"""What two or more services import."""
