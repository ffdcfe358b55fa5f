"""Small ACE checkpoints, trained with fme, and runs of fme's own inference."""
