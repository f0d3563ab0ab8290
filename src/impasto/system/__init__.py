"""What the machine gives: devices, memory, files, processes, checkpoints, optional libraries."""
