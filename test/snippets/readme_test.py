#!/usr/bin/env python3
"""The code in README.md and docs/ that names its source is that source, letter by letter.

    <!-- snippet: FILE NAME -->   followed by a code block: the lines between //[NAME and //] of FILE

    readme_test.py ROOT           checks
    readme_test.py ROOT --write   brings the documents up to date
"""
import pathlib
import re
import sys
import textwrap

MARK = re.compile(r'(<!-- snippet: (\S+) (\S+) -->\n```[a-z]*\n)(.*?)(```\n)', re.S)


def region(root, file, name):
    source = (root / file).read_text()
    found = re.search(r'^[ \t]*//\[' + re.escape(name) + r'\n(.*?)^[ \t]*//\]$', source, re.S | re.M)
    if not found:
        sys.exit(f'{file}: there is no region //[{name} ... //]')
    return textwrap.dedent(found[1])


def main():
    root = pathlib.Path(sys.argv[1])
    write = '--write' in sys.argv[2:]
    wrong = checked = 0
    for document in [root / 'README.md', *sorted((root / 'docs').rglob('*.md'))]:
        text = document.read_text()
        fresh = MARK.sub(lambda m: m[1] + region(root, m[2], m[3]) + m[5], text)
        checked += len(MARK.findall(text))
        if fresh == text:
            continue
        if write:
            document.write_text(fresh)
        else:
            wrong += 1
            print(f'{document.relative_to(root)}: a snippet differs from its source')
    print(f'{checked} snippets')
    sys.exit(1 if wrong or checked == 0 else 0)


main()
