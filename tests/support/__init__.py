"""What tests share: servers, waiting, processes, databases."""
