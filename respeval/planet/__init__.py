"""The bundled planet: a small stochastic climate whose forced response is known in closed form."""

from respeval.planet.shipped import SHIPPED_CHECKPOINTS, shipped_checkpoint

__all__ = ["SHIPPED_CHECKPOINTS", "shipped_checkpoint"]
