"""audit.events to audit.enriched: rules, mapping, summaries; and the annotator."""
