"""Programs that torch.export saved: checked before torch reads them, and run as emulators."""

from respeval.checkpoints.exported.reader import (
    ExportedEmulator,
    ExportManifest,
    read_exported,
    read_manifest,
    save_exported,
)

__all__ = ["ExportManifest", "ExportedEmulator", "read_exported", "read_manifest", "save_exported"]
