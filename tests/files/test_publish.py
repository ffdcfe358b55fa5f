"""What JSON can hold."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from respeval.files.publish import finite_or_none, write_json


def test_only_finite_numbers_are_written(tmp_path: Path) -> None:
    numbers = [1.5, np.float32(0.5), np.int64(3), math.nan, math.inf, np.float64(-np.inf), None]
    known = [finite_or_none(number) for number in numbers]
    assert known == [1.5, 0.5, 3.0, None, None, None, None]
    write_json(tmp_path / "numbers.json", {"known": known})
    assert json.loads((tmp_path / "numbers.json").read_text()) == {"known": known}
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "numbers.json", {"known": [math.nan]})
