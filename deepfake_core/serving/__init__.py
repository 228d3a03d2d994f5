"""What runs a finished model: sessions, batch scores, the registry and its gate."""
