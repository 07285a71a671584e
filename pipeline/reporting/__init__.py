"""Reporting: frames in, Markdown and figures out; nothing here reads or writes a file."""
