"""What lies in `shapes/` are candidates: their tests run inside the sandbox, never here."""

collect_ignore = ["shapes"]
