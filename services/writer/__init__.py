"""audit.enriched to PostgreSQL: hash-chained, exactly once."""
