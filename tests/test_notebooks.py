import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))
SECONDS = 120

each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def test_there_are_notebooks():
    assert NOTEBOOKS


@each
def test_outputs_are_stripped(path):
    for cell in json.loads(path.read_text())["cells"]:
        assert cell["metadata"] == {}
        if cell["cell_type"] == "code":
            assert (cell["outputs"], cell["execution_count"]) == ([], None)


@pytest.mark.slow
@pytest.mark.notebook
@each
def test_runs_from_top_to_bottom(path, tmp_path):
    """As a script, which needs no Jupyter; assertions in the cells say what must come out."""
    cells = json.loads(path.read_text())["cells"]
    script = tmp_path / "notebook.py"
    script.write_text("\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"))
    root = str(path.parent.parent)
    variables = {**os.environ, "MPLBACKEND": "Agg", "PYTHONPATH": root}
    subprocess.run([sys.executable, "-W", "error", script], check=True, cwd=tmp_path, env=variables, timeout=SECONDS)
