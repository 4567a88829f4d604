"""Who may import whom, and what an import may cost (design.md)."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MAY_IMPORT = {
    "corpus": set(),
    "vqgan": set(),
    "m6_prior": set(),
    "pipelines": {"vqgan", "m6_prior"},
    "recipes": {"corpus", "vqgan", "m6_prior", "pipelines"},
    "app": {"corpus", "vqgan", "m6_prior", "pipelines", "recipes"},
}
LIGHT = ("vqgan", "m6_prior", "pipelines")
HEAVY = (
    "diffusers", "transformers", "gradio", "skia", "torchvision", "vector_quantize_pytorch", "lpips", "taming",
    "pytorch_lightning", "webdataset", "tensorboard", "omegaconf",
)  # fmt: skip


def imported_names(source: str) -> set[str]:
    """The top-level names of all absolute imports, those inside functions and under TYPE_CHECKING included."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative import; name the package in full"
            names.add(node.module or "")
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("importlib.import_module", "__import__"):
            raise AssertionError(f"line {node.lineno}: dynamic import; write an import statement")
    return {name.partition(".")[0] for name in names}


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_packages_import_only_what_the_table_allows(package: str) -> None:
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    for path in files:
        ours = imported_names(path.read_text("utf-8")) & MAY_IMPORT.keys() - {package}
        assert ours <= MAY_IMPORT[package], f"{path.relative_to(ROOT)} imports {sorted(ours - MAY_IMPORT[package])}"


def test_the_table_sees_lazy_imports_and_ignores_outsiders() -> None:
    assert imported_names("import torch.nn\ndef f():\n    from app.main import main\n") == {"torch", "app"}


def modules_after(statement: str) -> set[str]:
    code = f"{statement}\nimport sys\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_importing_the_model_packages_is_light() -> None:
    heavy = modules_after("\n".join(f"import {name}" for name in LIGHT)) & set(HEAVY)
    assert not heavy, f"imported too early: {sorted(heavy)}"


def test_importing_the_command_loads_no_torch() -> None:
    """`m6 --help` answers at once."""
    heavy = modules_after("import app.main") & {"torch", *HEAVY}
    assert not heavy, f"imported too early: {sorted(heavy)}"


def test_importing_recipes_loads_no_page_and_no_foreign_models() -> None:
    heavy = modules_after("import recipes.train") & {"gradio", "diffusers", "lpips", "taming", "torchvision"}
    assert not heavy, f"imported too early: {sorted(heavy)}"


def test_no_file_is_longer_than_400_lines() -> None:
    files = [path for package in MAY_IMPORT for path in (ROOT / package).rglob("*.py")]
    counts = {str(path.relative_to(ROOT)): len(path.read_text("utf-8").splitlines()) for path in files}
    assert not {path: count for path, count in counts.items() if count > 400}
