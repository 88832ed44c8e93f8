"""What is in the edition document, a module for each part; all of it counted from the records below the cut."""
