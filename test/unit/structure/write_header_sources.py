"""write_header_sources.py DIRECTORY HEADER...: a source file for each header that includes nothing else."""
import re
import sys
from pathlib import Path

for header in sys.argv[2:]:
    Path(sys.argv[1], re.sub(r"[^A-Za-z0-9]", "_", header) + ".cpp").write_text(f"#include <{header}>\n", encoding="utf-8")
