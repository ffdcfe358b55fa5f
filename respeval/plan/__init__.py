"""All that happens before the first step: a run opened, checked, estimated, and where it goes on."""
