"""The composition root: settings, wiring, scheduler, life cycle. Everything is made here and nowhere else."""
