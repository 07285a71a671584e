"""Make Markdown and figures of tables; nothing here reads or writes a file."""
