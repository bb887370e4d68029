"""The control plane: makes what the chosen delivery needs exist, and keeps it so."""
