"""What tests share: studies, toys, worlds, processes, and the programs that they start."""

from pathlib import Path

#: The repository.
ROOT = Path(__file__).resolve().parents[2]
