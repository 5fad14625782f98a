"""The chaos run: a whole service, a real SMTP server, and processes that are killed, stopped and woken while mails are in flight."""
