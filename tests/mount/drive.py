#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
# drive: what shell scripts can't do to a mount: system calls with their errno by name, many writers, poll.
# Each command is a function cmd_NAME; it prints what happened and exits 0, or says what is wrong and exits 1.
import ctypes, errno, json, mmap, os, random, select, signal, sys, threading, time

LIBC = ctypes.CDLL(None, use_errno=True)


def name(e):
    return errno.errorcode.get(e.errno, str(e.errno))


def unescape(s):
    return s.encode("utf-8", "surrogateescape").decode("unicode_escape").encode("latin-1") if "\\" in s \
        else s.encode("utf-8", "surrogateescape")


def flags(s):
    value = 0
    for f in s.split("|"):
        value |= getattr(os, "O_" + f)
    return value


def die(*words):
    print(*words, file=sys.stderr)
    sys.exit(1)


def cmd_write(path, *chunks, how="WRONLY|APPEND|CREAT"):
    """write PATH CHUNK...: each chunk is one write(2); 'fsync' and 'close' are calls. One result a word."""
    out = []
    try:
        fd = os.open(path, flags(how), 0o644)
    except OSError as e:
        print("open:" + name(e))
        return
    for c in chunks:
        try:
            if c == "fsync":
                os.fsync(fd)
                out.append("0")
            elif c.startswith("@"):
                with open(c[1:], "rb") as f:
                    out.append(str(os.write(fd, f.read())))
            else:
                out.append(str(os.write(fd, unescape(c))))
        except OSError as e:
            out.append(name(e))
    os.close(fd)
    print(" ".join(out))


def cmd_write_flags(how, path, *chunks):
    cmd_write(path, *chunks, how=how)


def cmd_two(path_a, path_b, *chunks):
    """two A B CHUNK...: the chunks go to A and B in turn, through two descriptors."""
    fds = [os.open(p, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644) for p in (path_a, path_b)]
    out = []
    for i, c in enumerate(chunks):
        try:
            out.append(str(os.write(fds[i % 2], unescape(c))))
        except OSError as e:
            out.append(name(e))
    for fd in fds:
        os.close(fd)
    print(" ".join(out))


def cmd_cut(path, text_file, seed):
    """cut PATH FILE SEED: the file in writes that end anywhere; every one must be taken whole."""
    data = open(text_file, "rb").read()
    rnd = random.Random(int(seed))
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    at = 0
    while at < len(data):
        n = rnd.choice((1, 2, 3, 7, 40, 700))
        got = os.write(fd, data[at:at + n])
        if got != len(data[at:at + n]):
            die("short write at byte", at)
        at += got
    os.close(fd)


def call(fn, *args):
    ctypes.set_errno(0)
    if fn(*args) < 0:
        e = ctypes.get_errno()
        raise OSError(e, os.strerror(e))


def cmd_call(what, path, *args):
    """call NAME PATH ARGS: OK, or the errno."""
    def opened(how):
        return os.open(path, flags(how))

    calls = {
        "unlink": lambda: os.unlink(path),
        "rmdir": lambda: os.rmdir(path),
        "mkdir": lambda: os.mkdir(path),
        "rename": lambda: os.rename(path, args[0]),
        "link": lambda: os.link(path, args[0]),
        "symlink": lambda: os.symlink(args[0], path),
        "mknod": lambda: os.mknod(path, 0o644 | 0o100000),
        "mkfifo": lambda: os.mkfifo(path),
        "truncate": lambda: os.truncate(path, int(args[0])),
        "ftruncate": lambda: os.ftruncate(opened("WRONLY|APPEND"), int(args[0])),
        "fallocate": lambda: call(LIBC.fallocate, opened("WRONLY|APPEND"), 0, ctypes.c_long(0), ctypes.c_long(4096)),
        "setxattr": lambda: os.setxattr(path, "user.note", b"x"),
        "getxattr": lambda: os.getxattr(path, "user.note"),
        "listxattr": lambda: print(os.listxattr(path)),
        "chmod": lambda: os.chmod(path, int(args[0], 8)),
        "chown": lambda: os.chown(path, int(args[0]), int(args[1])),
        "utime": lambda: os.utime(path),
        "open": lambda: os.close(opened(args[0])),
        "stat": lambda: os.stat(path),
        "mmap-write": lambda: mmap.mmap(opened("RDWR|APPEND"), 0),
        "read": lambda: os.read(opened("RDONLY"), 10),
    }
    try:
        calls[what]()
        print("OK")
    except OSError as e:
        print(name(e))


def cmd_check_log(path):
    """Every line whole JSON; seq and version without gaps; recorded never goes back; ids once an entity."""
    versions, ids, seq, last, tx = {}, set(), 0, "", 0
    with open(path, "rb") as f:
        for line in f:
            if not line.endswith(b"\n"):
                die("the last line has no line feed")
            e = json.loads(line)
            seq += 1
            if e["seq"] != seq:
                die("seq", e["seq"], "where", seq, "belongs")
            v = versions[e["entity"]] = versions.get(e["entity"], 0) + 1
            if e["version"] != v:
                die("seq", seq, "version", e["version"], "where", v, "belongs")
            recorded = e.get("recorded", e["time"])
            if recorded < last:
                die("seq", seq, "recorded goes back")
            last = recorded
            if (e["entity"], e["id"]) in ids:
                die("seq", seq, "id twice", e["id"])
            ids.add((e["entity"], e["id"]))
            if tx and e.get("tx", 0) != tx - 1:
                die("seq", seq, "a transaction is not together")
            tx = e.get("tx", 0)
            if len(e["crc"]) != 8:
                die("seq", seq, "crc", e["crc"])
    if tx:
        die("the log ends inside a transaction")
    print(seq)


def writer(i, events, mode, root):
    """One of several writers: single lines, several lines a write, and pieces of lines."""
    rnd = random.Random(i)
    path = os.path.join(root, "events.jsonl" if mode == "one" else "entities/load/w%d/events.jsonl" % i)
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    n = 0
    while n < events:
        many = min(rnd.choice((1, 1, 2, 5, 50)), events - n)
        text = b"".join(b'{"entity":"load/w%d/e%d","type":"t%d","data":{"w":%d,"n":%d,"pad":"%s"}}\n'
                        % (i, k % 7, k % 3, i, k, b"x" * rnd.randrange(60)) for k in range(n, n + many))
        cut = rnd.randrange(len(text)) if rnd.random() < 0.2 else 0
        for piece in (text[:cut], text[cut:]):
            while piece:
                piece = piece[os.write(fd, piece):]
        n += many
    os.close(fd)


def cmd_writers(count, events, mode, root):
    """writers COUNT EVENTS one|many ROOT: COUNT processes, EVENTS each."""
    pids = []
    for i in range(int(count)):
        pid = os.fork()
        if pid == 0:
            try:
                writer(i, int(events), mode, root)
                os._exit(0)
            except BaseException as e:
                print("writer", i, e, file=sys.stderr)
                os._exit(1)
        pids.append(pid)
    if any([os.waitpid(p, 0)[1] for p in pids]):
        die("a writer failed")


def cmd_check_writers(count, events, path):
    """Each writer's events: all, once, in its own order."""
    seen = {}
    with open(path, "rb") as f:
        for line in f:
            e = json.loads(line)
            w, n = e["data"]["w"], e["data"]["n"]
            if seen.get(w, 0) != n:
                die("writer", w, "event", n, "where", seen.get(w, 0), "belongs")
            seen[w] = n + 1
    for i in range(int(count)):
        if seen.get(i) != int(events):
            die("writer", i, "has", seen.get(i), "events of", events)


def ack(path, tag, out, how):
    """Append {"tag","n"} for ever; after each event, or transaction of three, that was taken put how many into out.
    Until it fails. how: each in one write; in two, which end inside a value; with an fsync behind; or O_DSYNC."""
    log = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    rnd, n = random.Random(tag), 0
    try:
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | (os.O_DSYNC if how == "dsync" else 0))
        while True:
            many = 3 if rnd.random() < 0.3 else 1
            ev = ['{"entity":"kill/%s","type":"t","data":{"tag":"%s","n":%d}}' % (tag, tag, n + i) for i in range(many)]
            text = (("[" + ",\n".join(ev) + "]" if many == 3 else ev[0]) + "\n").encode()
            cut = rnd.randrange(1, len(text)) if how == "halves" else len(text)
            for piece in text[:cut], text[cut:]:
                if piece and os.write(fd, piece) != len(piece):
                    die("a short write")
            n += many
            os.write(log, b"%d\n" % n)
            if how == "fsync":
                os.fsync(fd)
    except OSError:
        pass


def cmd_ack(path, out, *tags):
    """ack PATH OUT-DIRECTORY TAG...: one process a tag; the last one's descriptor is O_DSYNC."""
    for i, tag in enumerate(tags):
        if os.fork() == 0:
            how = "dsync" if tag == tags[-1] else ("plain", "halves", "fsync")[i % 3]
            ack(path, tag, os.path.join(out, tag), how)
            os._exit(0)
    for _ in tags:
        if os.wait()[1]:
            die("a writer failed otherwise than by an errno")


def cmd_check_acked(root, out, *tags):
    """What was acknowledged (without tags: by all that have a file in OUT) is there, once and in order; at most what
    was under way may be there besides, and never a part of a transaction. Prints how many were acknowledged."""
    total = 0
    for tag in tags or os.listdir(out):
        path, log = os.path.join(root, "entities/kill", tag, "t.jsonl"), os.path.join(out, tag)
        acked = [int(x) for x in open(log).read().split()] if os.path.exists(log) else []
        want = acked[-1] if acked else 0
        got = 0
        if os.path.exists(path):
            for line in open(path, "rb"):
                d = json.loads(line)
                if d["tag"] != tag or d["n"] != got:
                    die("tag", tag, "has", d, "where", got, "belongs")
                got += 1
        if got < want or got not in (want, want + 1, want + 3):
            die("tag", tag, "acknowledged", want, "but there are", got)
        total += want
    print(total)


def cmd_check_backup(root, before, *tags):
    """A copy that was begun after BEFORE was saved has all that was acknowledged by then, in order, and never a part
    of a transaction (check-log)."""
    for tag in tags:
        acked = [int(x) for x in open(os.path.join(before, tag)).read().split()]
        n = 0
        for line in open(os.path.join(root, "entities/kill", tag, "t.jsonl"), "rb"):
            if json.loads(line)["n"] != n:
                die("tag", tag, "has", line, "where", n, "belongs")
            n += 1
        if n < acked[-1]:
            die("tag", tag, "acknowledged", acked[-1], "before, but the copy has", n)


def cmd_fsync_time(path, text):
    """write, then fsync: the wall-clock times before and after the fsync."""
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(fd, text.encode())
    before = time.time()
    os.fsync(fd)
    print("%.6f %.6f" % (before, time.time()))


def cmd_pending(path, most):
    """Unfinished transactions in many open files until one is refused; its errno, after at most MOST MiB."""
    fds, total = [], 0
    piece = b'{"entity":"p","type":"t","data":"' + b"x" * (900 << 10) + b'"},\n'
    try:
        while total < int(most) << 20:
            fd = os.open(path, os.O_WRONLY | os.O_APPEND)
            fds.append(fd)
            os.write(fd, b"[\n")
            for _ in range(16):
                n = os.write(fd, piece)
                total += n
                if n < len(piece):
                    os.write(fd, piece[n:])
        die("no limit after", total >> 20, "MiB")
    except OSError as e:
        print(name(e), total >> 20)


def cmd_corpus(kind, path, *files):
    """Each line of the files as one input, through a descriptor of its own. accept: taken whole, and finished.
    refuse: an errno, a short write, or unfinished."""
    bad = 0
    for f in files:
        for i, line in enumerate(open(f, "rb").read().split(b"\n")):
            if not line.strip():
                continue
            fd = os.open(path, os.O_WRONLY | os.O_APPEND)
            try:
                taken = os.write(fd, line + b"\n") == len(line) + 1
                os.fsync(fd)
            except OSError:
                taken = False
            os.close(fd)
            if taken != (kind == "accept"):
                bad += 1
                print("%s:%d: %s: %r" % (f, i + 1, "taken" if taken else "refused", line[:200]), file=sys.stderr)
    if bad:
        die(bad, "inputs")


def waiter(kind, fd):
    if kind == "poll":
        p = select.poll()
        p.register(fd, select.POLLIN)
        return lambda ms: bool(p.poll(ms))
    if kind == "epoll":
        p = select.epoll()
        p.register(fd, select.EPOLLIN)
        return lambda ms: bool(p.poll(ms / 1000))
    if kind == "epoll-et":
        p = select.epoll()
        p.register(fd, select.EPOLLIN | select.EPOLLET)
        return lambda ms: bool(p.poll(ms / 1000))
    return lambda ms: bool(select.select([fd], [], [], ms / 1000)[0])


def drain(fd):
    n = 0
    while True:
        b = os.read(fd, 1 << 20)
        n += len(b)
        if not b:
            return n


def cmd_poll(kind, watched, appended, text, rounds):
    """Wait on one file while another is appended to: woken once for each, and soon. Prints the median in
    microseconds from the return of write(2) to the wake-up (0: woken before)."""
    fd = os.open(watched, os.O_RDONLY)
    wait = waiter(kind, fd)
    # Read to the end first; a wake-up before any append may only be spurious, not endless.
    for _ in range(3):
        drain(fd)
        if not wait(0):
            break
    else:
        die(kind, "is readable with nothing unread")
    took = []
    for _ in range(int(rounds)):
        written = []

        def append():
            time.sleep(0.005) # so that the waiter waits; what is measured does not depend on it
            w = os.open(appended, os.O_WRONLY | os.O_APPEND)
            os.write(w, text.encode())
            written.append(time.monotonic())
            os.close(w)

        t = threading.Thread(target=append)
        t.start()
        woken = wait(5000)
        now = time.monotonic()
        t.join()
        if not woken:
            die(kind, "was not woken")
        took.append(max(0.0, now - written[0]) * 1e6)
        if drain(fd) == 0:
            die(kind, "was woken, but there was nothing to read")
    if wait(0) and (drain(fd) or wait(0)):
        die(kind, "is readable again with nothing unread")
    print(int(sorted(took)[len(took) // 2]))


def cmd_waiters(count, watched, appended, text):
    """COUNT waiters on one file, and one on which nothing comes: all of the first wake, meanwhile everything
    else is answered. Prints the milliseconds until the last one woke."""
    fds = [os.open(watched, os.O_RDONLY) for _ in range(int(count))]
    p = select.poll()
    for fd in fds:
        drain(fd)
        p.register(fd, select.POLLIN)
    for fd, _ in p.poll(0):
        drain(fd)
    if p.poll(20):
        die("waiters are awake with nothing unread")
    t0 = time.monotonic()
    os.stat(watched)
    if time.monotonic() - t0 > 1:
        die("a stat beside waiters took", time.monotonic() - t0)
    w = os.open(appended, os.O_WRONLY | os.O_APPEND)
    t0 = time.monotonic()
    os.write(w, text.encode())
    awake = set()
    while len(awake) < len(fds):
        ready = p.poll(5000)
        if not ready:
            die("only", len(awake), "of", len(fds), "woke")
        for fd, _ in ready:
            awake.add(fd)
            p.unregister(fd)
    print(int((time.monotonic() - t0) * 1000))


def cmd_nonblock(path, appended, text):
    """With O_NONBLOCK poll is level-triggered: readable while anything is unread."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    p = select.poll()
    p.register(fd, select.POLLIN)
    for _ in range(3):
        if not p.poll(1000):
            die("not readable though there are unread bytes")
        os.read(fd, 1)
    drain(fd)
    if p.poll(0):
        die("readable with nothing unread")
    w = os.open(appended, os.O_WRONLY | os.O_APPEND)
    os.write(w, text.encode())
    for _ in range(3):
        if not p.poll(1000):
            die("not readable after an append")
    drain(fd)
    if p.poll(0):
        die("readable after reading to the end")


def cmd_held(path, appended, text):
    """A held descriptor, a mapping made anew, stat, seek and pread see what another file's append added."""
    fd = os.open(path, os.O_RDONLY)
    before = drain(fd)
    if os.fstat(fd).st_size != before:
        die("st_size", os.fstat(fd).st_size, "but", before, "bytes")
    w = os.open(appended, os.O_WRONLY | os.O_APPEND)
    for i in range(20):
        os.write(w, text.encode())
        size = os.fstat(fd).st_size
        new = os.read(fd, 1 << 20)
        if not new.endswith(b"\n") or b"\0" in new or size != before + len(new):
            die("round", i, "size", size, "before", before, "read", new)
        if os.pread(fd, len(new), before) != new:
            die("round", i, "pread differs from what was read")
        for how in (mmap.MAP_PRIVATE, mmap.MAP_SHARED):
            try:
                m = mmap.mmap(fd, size, how, mmap.PROT_READ)
            except OSError as e:
                # A file that is not cached can't be mapped shared: programs take read(2) then.
                if how == mmap.MAP_PRIVATE or e.errno != errno.ENODEV:
                    raise
                continue
            if m[before:size] != new:
                die("round", i, "the mapping differs from what was read")
            m.close()
        before = size
    whole = os.pread(fd, before, 0)
    rnd = random.Random(1)
    for _ in range(500):
        at, n = rnd.randrange(before + 10), rnd.randrange(1, 5000)
        if os.pread(fd, n, at) != whole[at:at + n]:
            die("pread", n, "at", at)
        os.lseek(fd, at, os.SEEK_SET)
        if os.read(fd, n) != whole[at:at + n]:
            die("lseek and read", n, "at", at)
    if os.lseek(fd, 0, os.SEEK_END) != before:
        die("SEEK_END")


def cmd_dsync(count, each, root):
    """COUNT threads, each with a file of its own opened O_DSYNC, EACH writes."""
    def run(i):
        fd = os.open(os.path.join(root, "sync/%d/t.jsonl" % i), os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_DSYNC)
        start.wait()
        for n in range(int(each)):
            os.write(fd, b'%d\n' % n)
        os.close(fd)

    start = threading.Barrier(int(count))
    threads = [threading.Thread(target=run, args=(i,)) for i in range(int(count))]
    for t in threads:
        t.start()
    for t in threads:
        t.join()


signal.signal(signal.SIGPIPE, signal.SIG_DFL)
if __name__ == "__main__":
    globals()["cmd_" + sys.argv[1].replace("-", "_")](*sys.argv[2:])
