"""Pages that MkDocs generates: every configuration, and every module of the package."""

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

REPOSITORY = Path(__file__).resolve().parent.parent
CONFIGURATIONS = (REPOSITORY / "conf", REPOSITORY / "conf" / "predict")  # that commands compose
PACKAGES = ("data", "models", "training", "search", "reporting", "inference", "cli")
_OUTSIDE = re.compile(r"\[([^\]]+)\]\(\.\./([^)#]+)(#[^)]*)?\)")


def on_files(files: Files, config: Any) -> Files:
    """Add the generated pages."""
    pages = {"configuration": configuration_page(*CONFIGURATIONS)}
    pages |= {name: package_page(REPOSITORY, name) for name in PACKAGES}
    for name, content in pages.items():
        files.append(File.generated(config, f"reference/{name}.md", content=content))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Turn links to files beside docs/ into what they are called: pages cannot hold them."""
    return _OUTSIDE.sub(lambda found: _reference(found[1], found[2]), markdown)


def _reference(text: str, path: str) -> str:
    conf = re.fullmatch(r"conf/(\w+)/(\w+)\.yaml", path)
    return f"[{text}](reference/configuration.md#{conf[1]}-{conf[2]})" if conf else text


def configuration_page(*folders: Path) -> str:
    """Return every file of configuration folders: its first comment as prose, the rest as it is."""
    parts = [
        "# Configuration",
        "Every setting with its default. `GROUP=NAME` chooses a file of a group, and a setting "
        "is named by its path: `search.n_trials=20`.",
    ]
    for path in sorted(path for folder in folders for path in folder.glob("*.yaml")):
        parts += [f"## {path.name}", *_described(path)]
    inside = (path for folder in folders for path in folder.iterdir())
    for group in sorted(path for path in inside if path.is_dir() and path not in folders):
        parts.append(f"## {group.name}")
        for path in sorted(group.glob("*.yaml")):
            heading = f'### `{group.name}={path.stem}` <a id="{group.name}-{path.stem}"></a>'
            parts += [heading, *_described(path)]
    return "\n\n".join(parts) + "\n"


def _described(path: Path) -> list[str]:
    """Return the leading comment of a file as a paragraph, then what follows as a block."""
    lines = path.read_text(encoding="utf-8").strip().splitlines()
    if lines and lines[0].startswith("# @package"):
        lines = lines[1:]
    count = next((n for n, line in enumerate(lines) if not line.startswith("#")), len(lines))
    prose = " ".join(line.removeprefix("#").strip() for line in lines[:count])
    block = "\n".join(["```yaml", *lines[count:], "```"])
    return [text for text in (_escaped(prose), block) if text]


def _escaped(text: str) -> str:
    return re.sub(r"([*_<>\[\]])", r"\\\1", text)


def package_page(repository: Path, name: str) -> str:
    """Return a page of the modules of a package, whose docstrings mkdocstrings fills in."""
    folder = repository / "tl_hpo" / name
    modules = sorted(path for path in folder.rglob("*.py") if _is_public(path))
    parts = [f"# tl_hpo.{name}"]
    for path in modules:
        dotted = ".".join(path.relative_to(repository).with_suffix("").parts)
        parts.append(f"::: {dotted.removesuffix('.__init__')}")
    return "\n\n".join(parts) + "\n"


def _is_public(path: Path) -> bool:
    return path.name == "__init__.py" or not path.name.startswith("_")
