"""The control plane: the controller on Ray, and what starts and stops a cluster."""
