"""Users' own report templates: Jinja2 in Markdown, rendered in a sandbox in a process of its own, with limits."""
