"""The rules of layering, checked on the text of the sources.

base <- proto, net <- server, client, redis. `proto` and `net` never include each other. `base` and `proto` see no Asio,
sockets, threads or clocks. Third-party headers stay in .cpp files, Asio and fmt in the logger excepted.
"""
import re
from pathlib import Path

MAY_INCLUDE = {
    "base": {"base"},
    "proto": {"base", "proto"},
    "net": {"base", "net"},
    "server": {"base", "proto", "net", "server"},
    "client": {"base", "proto", "net", "client"},
    "redis": {"base", "proto", "net", "redis"},
}
PURE = {"base", "proto"}

# What a pure layer must not see of the standard library and the system: input and output, threads, clocks.
IMPURE_STANDARD = {
    "thread", "mutex", "shared_mutex", "condition_variable", "future", "semaphore", "latch", "barrier", "stop_token",
    "iostream", "fstream", "filesystem", "ctime", "csignal",
}
SYSTEM = re.compile(r"^(sys|netinet|arpa|net|linux)/|^(unistd|fcntl|poll|pthread|sched|signal|time|netdb|errno|endian|spawn)\.h$")
STANDARD = re.compile(r"^[a-z0-9_]+$")
# Parts that do not compile everywhere, or that a peer's bytes can crash.
BANNED = re.compile(r"^rapidjson/(document|pointer|schema)\.h$"
                    r"|^websocketpp/(endpoint|server|client|connection)\.hpp$"
                    r"|^websocketpp/(config|roles|logger|transport|processors|extensions)/")
IMPURE_CALL = re.compile(r"clock\s*::\s*now\s*\(|\b(gettimeofday|clock_gettime|std::time)\s*\(|\bstd::random_device\b")

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.MULTILINE)
NOT_CODE = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"', re.DOTALL)


def code_of(text):
    """The text without comments and string literals, so that prose about a clock is no violation."""
    return NOT_CODE.sub(lambda match: "\n" * match.group().count("\n"), text)


def check_include(layer, path, quoted, name):
    header = path.suffix == ".hpp"
    if quoted:
        return "includes with quotes; write <kephas/...>"
    if name.startswith("kephas/"):
        target = name.split("/")[1]
        if layer == "umbrella" or target in MAY_INCLUDE[layer]:
            return None
        return f"{layer} must not include {target}"
    if STANDARD.match(name):
        return f"{layer} must not see <{name}>" if layer in PURE and name in IMPURE_STANDARD else None
    if SYSTEM.match(name):
        return f"{layer} must not see <{name}>" if layer in PURE else None
    if name == "asio.hpp" or name.startswith("asio/"):
        return f"{layer} must not include Asio" if layer in PURE else None
    if BANNED.match(name):
        return f"<{name}> is not to be used"
    if header and not (name.startswith("fmt/") and path.as_posix().endswith("kephas/base/logger.hpp")):
        return f"third-party header <{name}> outside a .cpp file"
    return None


def check_file(root, path):
    """The violations of one file under `root`/kephas, as lines of text."""
    relative = path.relative_to(root)
    layer = relative.parts[1] if len(relative.parts) > 2 else "umbrella"
    if layer != "umbrella" and layer not in MAY_INCLUDE:
        return [f"{relative}: {layer} is not a layer"]
    text = path.read_text(encoding="utf-8")
    problems = [check_include(layer, path, opening == '"', name) for opening, name in INCLUDE.findall(text)]
    code = code_of(text)
    if layer in PURE and IMPURE_CALL.search(code):
        problems.append(f"{layer} reads a clock or a source of randomness: {IMPURE_CALL.search(code).group()}")
    if path.suffix == ".hpp":
        if "#pragma once" not in code:
            problems.append("a header without #pragma once")
        if re.search(r"^\s*#\s*define\b", code, re.MULTILINE):
            problems.append("a macro in a public header")
        if re.search(r"^\s*using\s+namespace\b", code, re.MULTILINE):
            problems.append("using namespace in a header")
        rest = [line for line in code.splitlines() if line.strip() and not line.lstrip().startswith("#")]
        if layer == "umbrella" and rest:
            problems.append("the umbrella header holds includes only")
    return [f"{relative}: {problem}" for problem in problems if problem]


def check_tree(root):
    root = Path(root)
    files = sorted(path for path in (root / "kephas").rglob("*") if path.suffix in (".hpp", ".cpp"))
    return files, [problem for path in files for problem in check_file(root, path)]
