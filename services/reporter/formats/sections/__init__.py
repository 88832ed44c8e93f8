"""The sections of a report: each a function from the document to a Section, or to None where the document has nothing of it."""
