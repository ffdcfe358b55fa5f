"""The rollout: members stepped as one batch, guarded, and added up by segment."""
