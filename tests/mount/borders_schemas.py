#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
# borders_schemas: who may pin, read and unpin, on the tree and by the rules of borders.py: pinned.json is its
# directory's file, so it is read, written, made and removed as a file of that mode in that directory would be.
import os, sys
import borders as b

PINNED = "true"


def write_text(path, flags):
    fd = os.open(path, os.O_WRONLY | os.O_TRUNC | flags, 0o600)
    os.write(fd, PINNED.encode())
    os.close(fd)


def try_pin(path):
    """What a user may do where something is pinned."""
    return {
        "read": b.code(b.read_all, path), "stat": b.code(os.stat, path),
        "access": [os.access(path, a) for a in (os.R_OK, os.W_OK, os.X_OK)],
        "write": b.code(write_text, path, 0), "open A": b.code(os.open, path, os.O_WRONLY | os.O_APPEND),
        "chmod": b.code(os.chmod, path, 0o777), "chown": b.code(os.chown, path, 2004, 2004),
        "rename": b.code(os.rename, path, os.path.dirname(path) + "/.renamed"),
    }


def want_pin(reached, r):
    if not reached:
        return {**dict.fromkeys("read stat write chmod chown rename".split(), "EACCES"), "open A": "EACCES",
                "access": [False] * 3}
    read, write = "OK" if r & 4 else "EACCES", "OK" if r & 2 else "EACCES"
    return {"read": read, "stat": "OK", "access": [bool(r & 4), bool(r & 2), False], "write": write, "open A": write,
            "chmod": "EPERM", "chown": "EPERM", "rename": ("EPERM", "EACCES") if r & 3 == 3 else "EACCES"}


def main():
    b.MNT = sys.argv[1]
    b.make_tree()
    n = 0
    places = {f"entities/{d}": d for d in b.entity_dirs()}
    places.update({f"types/{t}": None for t in ("ta", "shared", "new")})
    for place, d in places.items():
        path = f"{b.MNT}/{place}/pinned.json"
        error = path.replace(".json", ".error.json" if d is not None else ".error")
        for user in b.USERS:
            row = b.ROWS[""] if d is None else b.row_of(d)
            reached = b.reach(user, d or "")
            r = b.rights(user, row)
            make = "OK" if reached and r & 3 == 3 else "EACCES"
            write_text(path, os.O_CREAT)
            got = b.as_user(user, try_pin, path)
            for op, want in want_pin(reached, r).items():
                b.expect(got[op], want, user, op, path)
            b.expect(b.as_user(user, b.code, os.unlink, path), make, user, "unlink", path)
            if os.path.exists(path):
                os.unlink(path)
            b.expect(b.as_user(user, b.code, write_text, path, os.O_CREAT | os.O_EXCL), make, user, "create", path)
            b.expect(os.path.exists(path), make == "OK", user, "created", path)
            # why one was refused is read by who may read the directory
            b.expect(b.code(lambda: open(path, "w").close() or open(path, "w").write("x")), "OK", "a refusal")
            while not os.path.exists(error):
                pass
            b.expect(b.as_user(user, b.code, b.read_all, error), "OK" if reached and r & 4 else "EACCES", user,
                     "read", error)
            b.expect(b.as_user(user, b.code, os.open, error, os.O_WRONLY), {"EACCES", "EPERM"}, user, "write", error)
            b.expect(b.as_user(user, b.code, os.unlink, error), make, user, "unlink", error)
            if make != "OK":
                os.unlink(error)
            if os.path.exists(path):
                os.unlink(path)
            n += len(got) + 7
    print(n, "results")
    for f in b.FAILED[:40]:
        print(f, file=sys.stderr)
    sys.exit(1 if b.FAILED else 0)


main()
