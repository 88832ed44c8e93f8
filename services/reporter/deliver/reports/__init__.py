"""Editions on their way out: by mail, to a webhook, into a bucket. (Into a directory: runs/directory.py.)"""
