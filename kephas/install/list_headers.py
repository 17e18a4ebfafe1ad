"""list_headers.py SOURCE_ROOT: the public headers, one per line, as they are included."""
import sys
from pathlib import Path

root = Path(sys.argv[1])
for header in sorted((root / "kephas").rglob("*.hpp")):
    print(header.relative_to(root).as_posix())
