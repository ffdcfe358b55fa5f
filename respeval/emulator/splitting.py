"""stub"""

from __future__ import annotations

from respeval.distributed.mesh import Mesh
from respeval.emulator.contract import Emulator


def check_split(emulator: Emulator, height: int, width: int) -> None:
    """stub"""


def localize(emulator: Emulator, mesh: Mesh) -> None:
    """stub"""
