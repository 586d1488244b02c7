"""What comparing a broker with the record of another's answers is made of.

    run record HOST:PORT            what that broker answers becomes the record
    run compare HOST:PORT           compares that broker with the record
    run compare --itself HOST:PORT  compares the broker whose record it is: nothing is meant
    run show HOST:PORT [NAME...]    prints conversations

The record, recorded.txt, is what a broker of another make said. meant.txt holds the differences that
are meant: the conversation, a pattern of the line that differs (either side's), and the reason. What
is neither the same nor meant is a failure; so is a line of meant.txt that nothing needs.
The last line is `N passed, N failed`.
"""
import difflib
import os
import re
import sys


def read_record(here):
    record, lines = {}, None
    with open(os.path.join(here, "recorded.txt"), encoding="utf-8") as f:
        for line in f.read().split("\n"):
            if line.startswith("== "):
                lines = record.setdefault(line[3:], [])
            elif line and lines is not None:
                lines.append(line)
    return record


def read_meant(here):
    """conversation TAB pattern TAB reason; * is any conversation."""
    meant = []
    with open(os.path.join(here, "meant.txt"), encoding="utf-8") as f:
        for line in f:
            if line.strip() and not line.startswith("#"):
                name, pattern, reason = line.rstrip("\n").split("\t")
                meant.append([name, re.compile(pattern), reason, 0])
    return meant


def line_by_line(want, got):
    """Changed lines in pairs: theirs and ours; None where a side has none."""
    for op, a, b, c, d in difflib.SequenceMatcher(None, want, got, autojunk=False).get_opcodes():
        if op != "equal":
            for n in range(max(b - a, d - c)):
                yield (want[a + n] if a + n < b else None), (got[c + n] if c + n < d else None)


def compare(here, held, differences, itself=False):
    """Holds what was said against the record."""
    record, meant, passed, failed = read_record(here), [] if itself else read_meant(here), 0, 0
    for name, got in held.items():
        bad = []
        for theirs, ours in differences(record.get(name, []), got):
            for m in meant:
                if m[0] in ("*", name) and any(m[1].search(side) for side in (theirs, ours) if side):
                    m[3] += 1
                    break
            else:
                bad.append((theirs, ours))
        if not bad:
            passed += 1
            print(f"PASS {name}")
            continue
        failed += 1
        print(f"FAIL {name}: {len(bad)} lines differ")
        shown = bad if os.environ.get("DIFF_ALL") else bad[:12]
        for theirs, ours in shown:
            print(f"   record | {theirs}\n   broker | {ours}")
    for name in record.keys() - held.keys():
        failed += 1
        print(f"FAIL {name} is in the record, and was not held")
    for name, pattern, _, used in meant:
        if not used:
            failed += 1
            print(f"FAIL meant.txt: nothing needs {name} {pattern.pattern}")
    print(f"{passed} passed, {failed} failed")
    return failed == 0


def main(here, hold_all, differences=line_by_line):
    """hold_all(address, names, itself) gives the lines of conversations by name; itself: with the broker whose record it is."""
    itself = "--itself" in sys.argv
    verb, address = ([a for a in sys.argv[1:3 + itself] if a != "--itself"] + ["", ""])[:2]
    if verb == "record":
        held = hold_all(address, [], True)
        with open(os.path.join(here, "recorded.txt"), "w", encoding="utf-8") as f:
            for name, lines in held.items():
                f.write(f"== {name}\n" + "".join(line.replace("\n", "\\n") + "\n" for line in lines))
    elif verb == "compare":
        sys.exit(0 if compare(here, hold_all(address, [], itself), differences, itself) else 1)
    elif verb == "show":
        for name, lines in hold_all(address, sys.argv[3:], False).items():
            print(f"== {name}", *lines, sep="\n")
    else:
        sys.exit(__doc__)
