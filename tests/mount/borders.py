#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
# borders: who may do what, tried by every user on every kind of file. What must come out is computed from the
# rules, not from the program: a directory has its own owner and mode or those of the nearest above (rows); a path
# needs x on each directory; a file has its directory's rights without x; and a file that shows what lies below
# a border is read by nobody whom the border keeps out. Runs as root; each user is a child process.
import errno, json, os, pickle, select, sys
from itertools import product

MNT = ""
#             uid   gid   other groups
USERS = {
    "root":     (0,    0,    []),
    "acme":     (2001, 2001, []),
    "beta":     (2002, 2002, [2100]),
    "member":   (2003, 2003, [2100]),      # of beta's group
    "stranger": (2004, 2004, []),
    "nested":   (2005, 2005, []),          # owns a directory within acme, which he can't reach
    "public":   (2006, 2006, []),
    "grouped":  (2007, 2007, []),          # owns a directory whose group is beta's, and is not of it
}
# Directories with an owner of their own: path below entities/, uid, gid, mode. "" is the root of the mount.
ROWS = {
    "":                 (0, 0, 0o777),
    "acme":             (2001, 2001, 0o700),  # a tenant
    "acme/shared":      (2005, 2005, 0o755),  # open, within what is closed
    "beta":             (2002, 2100, 0o750),  # a tenant with a group
    "beta/private":     (2002, 2002, 0o700),  # a border within a tenant
    "beta/lent":        (2003, 2100, 0o770),  # another's, for the group
    "drop":             (2002, 2002, 0o733),  # may be written, not be read
    "known":            (2002, 2002, 0o711),  # may be passed, not be listed
    "known/in":         (2002, 2002, 0o777),
    "pub":              (2006, 2006, 0o755),
    "pub/inner":        (2001, 2001, 0o700),  # another user's, within what is public
    "back":             (2006, 2006, 0o755),  # was closed, and is open again
    "mixed":            (2007, 2100, 0o755),
    "mixed/in":         (2002, 2100, 0o750),
    "ghost":            (2001, 2001, 0o700),  # holds no event, so it closes nothing
}
# Entities and the types of their events.
EVENTS = {
    "acme/1": ["ta", "shared"], "acme/shared/1": ["ta"], "beta/1": ["tb", "shared"], "beta/private/1": ["tp"],
    "beta/lent/1": ["tl"], "drop/1": ["td"], "known/in/1": ["tk"], "pub/1": ["tpub", "shared"], "pub/inner/1": ["ti"],
    "back/1": ["tback"], "mixed/1": ["tm"], "mixed/in/1": ["tmi"], "free/1": ["tfree"], "free/deep/er": ["tfree"],
}
NEVER = ["acme/never", "beta/private/never/deeper", "free/never", "known/never"]


# ---- the rules ----

def above(path):
    return path.rpartition("/")[0] if path else None


def row_of(path):
    while path not in ROWS:
        path = above(path)
    return ROWS[path]


def rights(user, row):
    """The rwx bits (7) that a row leaves to a user."""
    uid, gid, groups = USERS[user] if isinstance(user, str) else user
    if uid == 0:
        return 7
    owner, group, mode = row
    return (mode >> 6 if uid == owner else mode >> 3 if group == gid or group in groups else mode) & 7


def chain(path):
    """The rows from the root to a directory of entities/, itself included."""
    out = [ROWS[""]]
    parts = path.split("/") if path else []
    return out + [row_of("/".join(parts[:i + 1])) for i in range(len(parts))]


def reach(user, path):
    """May the user get into (x) a directory: every one on the way, and it?"""
    return all(rights(user, r) & 1 for r in chain(path))


def entity_dirs():
    out = set(NEVER) | set(ROWS) - {""}
    for e in EVENTS:
        while e:
            out.add(e)
            e = above(e)
    return sorted(out)


def is_below(path, of):
    return of == "" or path == of or path.startswith(of + "/")


def shown(file):
    """The entities whose events a file shows."""
    kind, path, t = file
    if kind == "below":
        return [e for e in EVENTS if is_below(e, path)]
    if kind in ("type", "learned"):
        return [e for e in EVENTS if t.split("/")[0] in EVENTS[e]]
    return [path]


def between(file, e):
    """The rows that are passed from a file's directory, not included, to an entity's."""
    kind, path, _ = file
    top = "" if kind in ("type", "learned") else path
    parts = e.split("/")
    dirs = ["/".join(parts[:i + 1]) for i in range(len(parts))]
    return [ROWS[d] for d in dirs if d in ROWS and (top == "" or len(d) > len(top))]


def anybody(row):
    """One of each sort of user that the rows tell apart."""
    uids = {r[0] for r in ROWS.values()} | {9999}
    gids = sorted({r[1] for r in ROWS.values()})
    return [(u, 9999, [g for g, in_it in zip(gids, bits) if in_it]) for u in uids if u
            for bits in product([0, 1], repeat=len(gids))]


CLOSED = {}


def closed_by(file):
    """The borders that close a file: somebody may read it by its directory, and not what is below the border."""
    if file not in CLOSED:
        own = row_of(file[1])
        readers = [u for u in anybody(own) if rights(u, own) & 4]
        CLOSED[file] = {b for e in shown(file) for b in between(file, e)
                        if any(rights(u, b) & 5 != 5 for u in readers)}
    return CLOSED[file]


def may_read(user, file):
    kind, path, _ = file
    if not reach(user, path) or not rights(user, row_of(path)) & 4:
        return False
    uid = USERS[user][0]
    if uid == 0 or kind not in ("below", "type", "learned") or not closed_by(file):
        return True
    return uid == row_of(path)[0] and all(rights(user, b) & 5 == 5 for b in closed_by(file))


def may_see(user, e):
    """May the user read the events of an entity where they lie?"""
    return reach(user, e) and bool(rights(user, row_of(e)) & 4)


def may_append(user, file, e):
    """Through a file, to an entity: as through the entity's own file, but what is above the file was passed."""
    kind, path, _ = file
    if not reach(user, path) or not rights(user, row_of(path)) & 2:
        return "open"
    way = between(file, e)
    if not all(rights(user, r) & 1 for r in way):
        return "write"
    return None if not way or rights(user, way[-1]) & 2 else "write"


# ---- the files ----

def name_of(file):
    kind, path, t = file
    if kind == "type":
        return f"types/{t}/events.jsonl"
    if kind == "learned":
        return "types/" + t
    base = "entities/" + path + "/" if path else ""
    return base + {"below": "events.jsonl", "own": f"{t}.jsonl", "state": "state.json"}[kind]


def files():
    out = [("below", "", None)]
    for d in entity_dirs():
        if any(is_below(e, d) for e in EVENTS):
            out.append(("below", d, None))
        for t in EVENTS.get(d, []):
            out.append(("own", d, t))
        if d in EVENTS:
            out.append(("state", d, None))
    types = sorted({t for ts in EVENTS.values() for t in ts})
    learned = [f"{t}/{f}" for t in types for f in ("schema.json", "README", "changes.jsonl", "schemas/1.json")]
    return out + [("type", "", t) for t in types] + [("learned", "", f) for f in learned]


# ---- users as processes ----

def as_user(user, fn, *args):
    """fn(*args) as that user, in a child; what it returns."""
    uid, gid, groups = USERS[user] if isinstance(user, str) else user
    r, w = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(r)
            os.setgroups(groups)
            os.setresgid(gid, gid, gid)
            os.setresuid(uid, uid, uid)
            out = fn(*args)
        except BaseException as e:  # the parent says it
            out = e
        with os.fdopen(w, "wb") as f:
            pickle.dump(out, f)
        os._exit(0)
    os.close(w)
    with os.fdopen(r, "rb") as f:
        out = pickle.load(f)
    os.waitpid(pid, 0)
    if isinstance(out, BaseException):
        raise out
    return out


def code(fn, *args, **kw):
    """'OK', or the name of the errno."""
    try:
        r = fn(*args, **kw)
        if isinstance(r, int) and fn is os.open:
            os.close(r)
        return "OK"
    except OSError as e:
        return errno.errorcode[e.errno]


def read_all(path):
    with open(path, "rb", buffering=0) as f:
        return f.readall()


def poll(path):
    fd = os.open(path, os.O_RDONLY)
    try:
        p = select.poll()
        p.register(fd, select.POLLIN)
        p.poll(0)
    finally:
        os.close(fd)


def write(path, text):
    """'open:ERRNO', 'ERRNO' of the write, or 'OK'."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_APPEND)
    except OSError as e:
        return "open:" + errno.errorcode[e.errno]
    try:
        return "OK" if os.write(fd, text.encode()) == len(text) else "short"
    except OSError as e:
        return errno.errorcode[e.errno]
    finally:
        os.close(fd)


FAILED = []


def expect(got, want, *what):
    if got != want and (not isinstance(want, (set, tuple)) or got not in want):
        FAILED.append(f"{' '.join(map(str, what))}: {got}, not {want}")


def event(e, t, **more):
    return json.dumps({"entity": e, "type": t, **more}) + "\n"


def make_tree():
    """The tree, by root. What an event says is a secret of its entity's."""
    os.chmod(MNT, 0o777)
    for e, types in EVENTS.items():
        for t in types:
            assert write(MNT + "/events.jsonl", event(e, t, id="id-" + t, data={"secret": f"[{e}]"})) == "OK"
    for path, (uid, gid, mode) in ROWS.items():
        if path == "back":
            os.chmod(f"{MNT}/entities/{path}", 0o700)
        if path:
            d = f"{MNT}/entities/{path}"
            os.stat(d)
            os.chown(d, uid, gid)
            os.chmod(d, mode)


# ---- the matrix ----

def try_file(path, is_view):
    """What one user may do to a file: every call that there is, but appending."""
    d, base = os.path.split(path)
    r = {
        "read": code(read_all, path),
        "poll": code(poll, path),
        "stat": code(os.stat, path),
        "O_PATH": code(os.open, path, os.O_PATH),
        "access R": os.access(path, os.R_OK),
        "access W": os.access(path, os.W_OK),
        "access X": os.access(path, os.X_OK),
        "chmod": code(os.chmod, path, 0o777),
        "chown": code(os.chown, path, 2004, 2004),
        "unlink": code(os.unlink, path),
        "rename": code(os.rename, path, d + "/.renamed"),
        "link": code(os.link, path, d + "/.linked"),
        "truncate": code(os.truncate, path, 0),
        "open W": code(os.open, path, os.O_WRONLY),
    }
    if is_view:
        r["open A"] = code(os.open, path, os.O_WRONLY | os.O_APPEND)
    return r


def want_file(user, file):
    kind, path, _ = file
    row, uid = row_of(path), USERS[user][0]
    if not reach(user, path):
        return {k: False if k.startswith("access") else "EACCES" for k in
                "read poll stat O_PATH chmod chown unlink rename link truncate".split()
                + ["access R", "access W", "access X", "open W", "open A"]}
    read, w, wx = may_read(user, file), bool(rights(user, row) & 2), rights(user, row) & 3 == 3
    if kind in ("state", "learned"):
        w = uid == 0
    if "schemas/" in name_of(file):
        wx = uid == 0  # their directory is nobody's to write in
    names = "EPERM" if wx else "EACCES"
    return {
        "read": "OK" if read else "EACCES", "poll": "OK" if read else "EACCES",
        # access(2) goes by the bits, which can't say of which groups an owner is; open(2) knows
        "stat": "OK", "O_PATH": "OK", "access R": read or (user, name_of(file)) == ("grouped", "entities/mixed/events.jsonl"),
        "access W": w, "access X": False,
        "chmod": "EPERM", "chown": "EPERM", "unlink": names, "rename": names,
        # a hard link to a file that isn't one's own needs rights to it (protected_hardlinks)
        "link": (names, "EPERM"), "truncate": "EPERM" if w else "EACCES", "open W": "EPERM" if w else "EACCES",
        "open A": "OK" if w else "EACCES",
    }


def try_dir(path):
    new = path + "/.new"
    made = code(os.mkdir, new)
    if made == "OK":
        made += " " + code(os.rmdir, new)
    return {
        "list": code(os.listdir, path),
        "names": sorted(os.listdir(path)) if os.access(path, os.R_OK | os.X_OK) else None,
        "stat": code(os.stat, path),
        "enter": code(os.chdir, path), "back": code(os.chdir, "/"),
        "O_PATH": code(os.open, path, os.O_PATH),
        "access": [os.access(path, a) for a in (os.R_OK, os.W_OK, os.X_OK)],
        "mkdir": made,
        "mkdir of a name": code(os.mkdir, path + "/name"),
        "create": code(os.open, path + "/.t.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT),
        "rename": code(os.rename, path, path + "x"),
        "unlink": code(os.unlink, path),
    }


def want_dir(user, path, names):
    row, up = row_of(path), above(path)
    up = "" if up is None else up
    if not reach(user, up):
        no = dict.fromkeys("list stat enter O_PATH mkdir create rename unlink".split(), "EACCES")
        return {**no, "names": None, "access": [False] * 3, "back": "OK", "mkdir of a name": "EACCES"}
    r = rights(user, row)
    up_wx = rights(user, row_of(up)) & 3 == 3
    return {
        "list": "OK" if r & 4 else "EACCES", "names": names if r & 5 == 5 else None, "stat": "OK",
        "enter": "OK" if r & 1 else "EACCES", "back": "OK", "O_PATH": "OK",
        "access": [bool(r & 4), bool(r & 2), bool(r & 1)],
        "mkdir": "OK OK" if r & 3 == 3 else "EACCES",
        "mkdir of a name": "EEXIST" if r & 1 else "EACCES", "create": "OK" if r & 3 == 3 else "EACCES",
        "rename": ("EPERM", "EACCES") if up_wx else "EACCES", "unlink": "EISDIR" if up_wx else "EACCES",
    }


def cmd_matrix():
    make_tree()
    n = 0
    dirs = entity_dirs()
    names = {d: as_user("root", try_dir, f"{MNT}/entities/{d}")["names"] for d in dirs}
    for user in USERS:
        got = as_user(user, lambda: {f: try_file(MNT + "/" + name_of(f), f[0] not in ("state", "learned")) for f in files()})
        for f, results in got.items():
            want = want_file(user, f)
            for op, r in results.items():
                n += 1
                expect(r, want[op], user, op, name_of(f))
        got = as_user(user, lambda: {d: try_dir(f"{MNT}/entities/{d}") for d in dirs})
        for d, results in got.items():
            want = want_dir(user, d, names[d])
            for op, r in results.items():
                n += 1
                expect(r, want[op], user, op, "entities/" + d)
        n += try_owner(user) + try_fixed(user)
    print(n, "results")


def try_owner(user):
    """chmod, chown and rmdir of directories: by their owner and by root only."""
    n = 0
    for d, (uid, gid, mode) in ROWS.items():
        path = f"{MNT}/entities/{d}" if d else MNT
        mine = USERS[user][0] in (0, uid)
        there = reach(user, above(d) or "")
        ok = "OK" if mine and there else "EPERM" if there else "EACCES"
        expect(as_user(user, code, os.chmod, path, mode), ok, user, "chmod", path)
        expect(as_user(user, code, os.chown, path, uid, -1), ok, user, "chown to its owner", path)
        give = "OK" if USERS[user][0] == 0 else "EPERM" if there else "EACCES"
        expect(as_user(user, code, os.chown, path, 2004, gid), give, user, "chown", path)
        if give == "OK":
            os.chown(path, uid, gid)
        if d and d != "ghost":
            up = rights(user, row_of(above(d))) & 3 == 3 and reach(user, above(d))
            expect(as_user(user, code, os.rmdir, path), "ENOTEMPTY" if up else "EACCES", user, "rmdir", path)
        n += 4
    return n


def try_fixed(user):
    """What stands in the root is everybody's to read, and nobody's to change."""
    root = USERS[user][0] == 0
    n = 0
    for f in ["README"] + [".evfs/" + x for x in ("stats.json", "metrics.prom", "rejected.jsonl", "health")]:
        path = f"{MNT}/{f}"
        r = as_user(user, try_file, path, False)
        for op in "read stat O_PATH".split():
            expect(r[op], "OK", user, op, f)
        names = "EPERM" if root or "/" not in f else "EACCES"
        for op, want in {"chmod": "EPERM", "chown": "EPERM", "unlink": names, "rename": names, "access W": root,
                         "open W": "EPERM" if root else "EACCES", "access X": False}.items():
            expect(r[op], want, user, op, f)
        n += 10
    for d, listed in {"": 5, "entities": None, "types": None, ".evfs": 4}.items():
        got = as_user(user, lambda: len(os.listdir(f"{MNT}/{d}")))
        expect(got, listed or got, user, "list", d)
        expect(as_user(user, code, os.rmdir, f"{MNT}/{d}") if d else "EPERM", {"EPERM", "EACCES", "ENOTEMPTY"}, user, d)
        n += 2
    return n


def cmd_appends():
    """Every user appends to every entity through every file that shows it. Only what may be stored is, by whom it
    was, and nobody finds a word in any file that he may not read where it lies."""
    make_tree()
    want = {}
    for user in USERS:
        tries = []
        for f in files():
            for e in shown(f) if f[0] not in ("state", "learned") else []:
                t = f[2] or EVENTS[e][0]
                mark = f"{user}-{len(want)}"
                data = {"secret": f"[{e}]", "mark": mark}
                text = json.dumps(data) + "\n" if f[0] == "own" else event(e, t, data=data)
                no = may_append(user, f, e)
                want[mark] = USERS[user][0], no is None, e
                tries.append((f, e, text, {None: "OK", "open": "open:EACCES", "write": "EACCES"}[no]))
        got = as_user(user, lambda: [write(MNT + "/" + name_of(f), text) for f, _, text, _ in tries])
        for (f, e, _, result), g in zip(tries, got):
            expect(g, result, user, "append to", e, "through", name_of(f))
    stored = {}
    for line in read_all(MNT + "/events.jsonl").splitlines():
        ev = json.loads(line)
        if "mark" in ev["data"]:
            stored[ev["data"]["mark"]] = ev["uid"], True, ev["entity"]
    expect(stored, {m: w for m, w in want.items() if w[1]}, "what is stored")
    for user in USERS:
        secrets = {f"[{e}]".encode() for e in EVENTS if not may_see(user, e)}
        own = USERS[user][0]
        for path, text in as_user(user, read_tree).items():
            lines = text.splitlines()
            if path == "/.evfs/rejected.jsonl" and own:
                expect({json.loads(x)["uid"] for x in lines} - {own}, set(), user, "sees refusals of others")
                continue
            found = {s for s in secrets if s in text}
            expect(found, set(), user, "reads in", path)
            if path.startswith("/.evfs") and own:
                told = [d for d in EVENTS if d.encode() in text]
                expect(told, [], user, "is told in", path)
    print(len(want), "appends,", len(stored), "stored")


def read_tree():
    """Whatever of the mount this user can read."""
    out = {}
    for d, _, names in os.walk(MNT):
        for name in names:
            try:
                out[d[len(MNT):] + "/" + name] = read_all(d + "/" + name)
            except PermissionError:
                pass
    return out


def cmd_oracles():
    """To who may not write there, a refusal says the same whatever is there."""
    make_tree()
    tell = lambda v: (v["errno"], v["reason"], v["text"], v["detail"])
    for through, t in (("events.jsonl", "ta"), ("types/ta/events.jsonl", "ta")):
        for user in ("stranger", "member", "nested"):
            tries = [event(e, t, **more) for e in ("acme/1", "acme/never", "acme", "acme/shared/1", "ghost", "ghost/1")
                     for more in ({}, {"id": "id-ta"}, {"id": "id-ta", "data": {"secret": "[acme/1]"}}, {"id": "new"},
                                  {"expected_version": 0}, {"expected_version": 2}, {"expected_version": 9})]
            tries += [event("acme/" + "n" * k, t) for k in (1, 249, 250, 900)] + [event("acme" + "/a" * 40, t)]
            got = as_user(user, lambda: [write(f"{MNT}/{through}", x) for x in tries])
            expect("".join(sorted(set(got))), "EACCES", user, through)
            rejected = [json.loads(x) for x in as_user(user, read_all, MNT + "/.evfs/rejected.jsonl").splitlines()]
            expect(len({tell(v) for v in rejected}), 1, user, "is told", {tell(v) for v in rejected})
            # In a transaction it is said where, by the one rule: the first event that is refused.
            ok = event("free/1", "tfree" if t != "ta" or "types" not in through else t).strip()
            for e, v in product(("acme/1", "acme/never"), (0, 1, 2)):
                tx = f"[{ok},{event(e, t, expected_version=v).strip()},{ok}]\n"
                expect(as_user(user, write, f"{MNT}/{through}", tx), "EACCES", user, tx)
    # Names, below what is closed: nothing tells those that are there from others.
    ops = [os.stat, os.lstat, os.listdir, lambda p: os.open(p, os.O_PATH), lambda p: os.open(p, os.O_RDONLY),
           lambda p: os.open(p, os.O_RDONLY | os.O_DIRECTORY), lambda p: os.open(p, os.O_WRONLY | os.O_APPEND | os.O_CREAT),
           os.mkdir, os.rmdir, os.unlink, lambda p: os.chmod(p, 0o700), lambda p: os.chown(p, 2004, 2004), os.utime,
           lambda p: os.rename(p, p + "x"), os.readlink, os.statvfs, lambda p: os.getxattr(p, "user.x"), os.chdir]
    for d, user in (("acme", "stranger"), ("acme", "beta"), ("beta/private", "member"), ("pub/inner", "stranger"),
                    ("acme/shared", "nested"), ("ghost", "stranger")):
        for name in ("1", "never", "1/ta.jsonl", "1/never.jsonl", "1/state.json", "events.jsonl", ".x", "x~", "n" * 255, "a.json"):
            got = as_user(user, lambda: {code(op, f"{MNT}/entities/{d}/{name}") for op in ops})
            expect("".join(sorted(got)), "EACCES", user, "learns of", d, name)


# ---- while things change ----

def cmd_stale():
    """The kernel keeps who owned a directory; what it lets an owner of yesterday do must not be done."""
    e = MNT + "/entities"
    os.chmod(MNT, 0o755)
    for i in range(20):
        d, sub = f"{e}/s{i}", f"{e}/s{i}/sub"
        assert write(MNT + "/events.jsonl", event(f"s{i}/sub/1", "t")) == "OK"
        os.chown(d, 2001, 2001)

        def was_owner():
            os.stat(sub)                       # the kernel has its owner now
            os.write(w1, b"x")
            os.read(r2, 1)                     # by now it has another
            return [code(os.chmod, sub, 0o777), code(os.chown, sub, 2001, 2001), code(os.chmod, d, 0o777),
                    code(os.mkdir, sub + "/.new")]
        r1, w1 = os.pipe()
        r2, w2 = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.read(r1, 1)
            os.chown(d, 2002, 2002)
            os.write(w2, b"x")
            os._exit(0)
        got = as_user("acme", was_owner)
        os.waitpid(pid, 0)
        for fd in (r1, w1, r2, w2):
            os.close(fd)
        expect(got, ["EPERM", "EPERM", "EPERM", "EACCES"], "an owner of yesterday")
        st = os.stat(sub)
        expect((st.st_uid, st.st_mode & 0o777), (2002, 0o755), "sub")
    # A sticky directory: who owned a name in it can't take it away.
    os.chmod(e, 0o1777)
    as_user("acme", os.mkdir, e + "/.mine")
    assert as_user("acme", code, os.stat, e + "/.mine") == "OK"
    os.chown(e + "/.mine", 2002, 2002)
    expect(as_user("acme", code, os.rmdir, e + "/.mine"), "EPERM", "rmdir in a sticky directory")
    expect(as_user("beta", code, os.rmdir, e + "/.mine"), "OK", "rmdir by its owner")


def main(commands):
    global MNT
    MNT = sys.argv[1]
    commands["cmd_" + sys.argv[2]](*sys.argv[3:])
    for f in FAILED[:60]:
        print(f, file=sys.stderr)
    if FAILED:
        sys.exit(f"{len(FAILED)} differ")


if __name__ == "__main__":
    main(globals())
