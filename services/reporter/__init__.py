"""PostgreSQL to people: verification, reports, exports."""
