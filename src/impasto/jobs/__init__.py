"""Many paintings in one go, and a queue of jobs that outlives every process that works on it."""
