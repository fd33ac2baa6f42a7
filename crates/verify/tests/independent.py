#!/usr/bin/env python3
"""Verifies an exported log as docs/log-format.md describes it, with nothing but the standard library.

Usage: independent.py EXPORT VERIFICATION-FILE [CHECKPOINT ...]

Written from that page and from RFC 6962, RFC 8032 and the C2SP documents it names; shares no code with Waxseal. Prints how
many leaves are proven, by kind, and exits with 0; or says what is wrong and exits with 1.
"""

import base64
import collections
import hashlib
import os
import sys

def check(condition, why):
    if not condition:
        sys.exit(f"broken: {why}")


# Ed25519 verification, RFC 8032 section 5.1.7, in extended coordinates.
P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P


def add(a, b):
    m, n = (a[1] - a[0]) * (b[1] - b[0]), (a[1] + a[0]) * (b[1] + b[0])
    c, d = 2 * a[3] * b[3] * D, 2 * a[2] * b[2]
    e, f, g, h = n - m, d - c, d + c, n + m
    return e * f % P, g * h % P, f * g % P, e * h % P


def multiply(n, point):
    result = (0, 1, 1, 0)
    while n:
        if n & 1:
            result = add(result, point)
        point, n = add(point, point), n >> 1
    return result


def decode(data):
    y = int.from_bytes(data, "little")
    sign, y = y >> 255, y & (1 << 255) - 1
    u, v = (y * y - 1) % P, (D * y * y + 1) % P
    x = u * pow(v, 3, P) * pow(u * pow(v, 7, P), (P - 5) // 8, P) % P
    if v * x * x % P != u:
        x = x * pow(2, (P - 1) // 4, P) % P
    check(y < P and v * x * x % P == u and not (x == 0 and sign), "a point is not on the curve")
    return (P - x if x & 1 != sign else x), y, 1, (P - x if x & 1 != sign else x) * y % P


def encode(point):
    inverse = pow(point[2], -1, P)
    x, y = point[0] * inverse % P, point[1] * inverse % P
    return (y | (x & 1) << 255).to_bytes(32, "little")


BASE = decode((4 * pow(5, -1, P) % P).to_bytes(32, "little"))


def signed(key, message, signature):
    r, s = signature[:32], int.from_bytes(signature[32:], "little")
    if len(signature) != 64 or s >= L:
        return False
    k = int.from_bytes(hashlib.sha512(r + key + message).digest(), "little") % L
    negative = decode(key)
    negative = (P - negative[0], negative[1], 1, P - negative[3])
    return encode(add(multiply(s, BASE), multiply(k, negative))) == r


def sha256(data):
    return hashlib.sha256(data).digest()


def unbase64(text):
    data = base64.b64decode(text, validate=True)
    check(base64.b64encode(data).decode() == text, "base64 that is not canonical")
    return data


class Tree:
    """RFC 6962 section 2.1, of which only the right edge is kept."""

    def __init__(self):
        self.size, self.peaks = 0, []

    def push(self, leaf_hash):
        index, node = self.size, leaf_hash
        while index & 1:
            node, index = sha256(b"\1" + self.peaks.pop() + node), index >> 1
        self.peaks.append(node)
        self.size += 1

    def root(self):
        if not self.peaks:
            return sha256(b"")
        node = self.peaks[-1]
        for left in reversed(self.peaks[:-1]):
            node = sha256(b"\1" + left + node)
        return node


class Key:
    def __init__(self, vkey):
        self.name, self.id, key = vkey.split("+", 2)
        key = unbase64(key)
        check(len(key) == 33 and key[0] == 1, "a verifier key is not one")
        check(sha256(self.name.encode() + b"\n" + key)[:4].hex() == self.id, "a key id is wrong")
        self.bytes = key[1:]


def key_of(name, data):
    data = b"\1" + data
    return Key("+".join([name, sha256(name.encode() + b"\n" + data)[:4].hex(), base64.b64encode(data).decode()]))


def checkpoint(note, keys):
    """Size and root of a checkpoint that all these keys have signed, the first of which names its origin."""
    text, lines = note.rsplit("\n\n", 1)
    text += "\n"
    check(lines.endswith("\n"), "a note does not end with a newline")
    found = set()
    for line in lines[:-1].split("\n"):
        dash, name, payload = line.split(" ")
        payload = unbase64(payload)
        check(dash == "\u2014", "a signature line does not begin with a dash")
        for key in keys:
            if (key.name, key.id) == (name, payload[:4].hex()):
                check(signed(key.bytes, text.encode(), payload[4:]), f"the signature of {name} is wrong")
                found.add(name)
    check(found == {key.name for key in keys}, "a signature is missing")
    origin, size, root, end = text.split("\n")
    check(origin == keys[0].name and end == "", "not a checkpoint of this log")
    check(str(int(size)) == size, "a size is not a number")
    root = unbase64(root)
    check(len(root) == 32, "a root is not a hash")
    return int(size), root


class Fields:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        check(self.at + count <= len(self.data), "a leaf is cut short")
        self.at += count
        return self.data[self.at - count : self.at]

    def byte(self, limit=256):
        value = self.take(1)[0]
        check(value < limit, "a byte of a leaf has no meaning")
        return value

    def number(self):
        value = shift = 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 127) << shift
            if byte < 128:
                check((byte or not shift) and value < 2**64, "a number is not in its shortest form")
                return value
            shift += 7

    def micros(self):
        value = self.number()
        return value >> 1 ^ -(value & 1)

    def hash(self):
        return self.take(32)

    def text(self):
        count = self.number()
        check(count <= 4096, "a text is too long")
        return self.take(count).decode()

    def path(self):
        count = self.number()
        return self.take(count) if count <= 4096 else (count, self.hash(), self.take(1024))

    def state(self):
        count = self.number()
        return self.take(count) if count <= 512 else (count, self.hash())

    def maybe(self, read):
        return read() if self.byte(2) else None

    def who(self):
        return self.number(), self.maybe(self.number), self.maybe(self.number), self.maybe(self.path)

    def by(self):
        return self.text(), self.maybe(self.text), self.maybe(self.text)


def n(f): return f.number()
def h(f): return f.hash()
def t(f): return f.text()
def p(f): return f.path()
def m(f): return f.micros()
def bit(f): return f.byte(2)
def maybe(*reads): return lambda f: f.maybe(lambda: [read(f) for read in reads])
def take(count): return lambda f: f.take(count)
def byte(limit): return lambda f: f.byte(limit)


def attributes(f):
    bits = f.number()
    check(bits < 2**17, "attributes that are not known")


def rows(f):
    """Rows of leaves that were deleted, as ranges."""
    found, end = [], 0
    for number in range(f.number()):
        gap, count = f.number(), f.number()
        check(count and (gap or not number), "rows that are no rows")
        found.append(range(end + gap, end + gap + count))
        end += gap + count
    return found


def contents(f):
    count = f.number()
    check(count <= 1200, "a leaf drops too many contents")
    return [(n(f), h(f)) for _ in range(count)]


DECISION = [n, p, maybe(Fields.state), Fields.by, t]
KINDS = {
    1: ("key", [n, h, bit, h, take(64)]),
    2: ("start", [t, h, maybe(n, h)]),
    3: ("stop", [t]),
    4: ("change", [n, n, n, m, byte(6), byte(5), byte(2), attributes, t, p, maybe(p), maybe(Fields.state), maybe(Fields.state),
                   maybe(Fields.who), h]),
    5: ("resolved", [n, p]),
    6: ("approved", DECISION),
    7: ("restored", DECISION),
    8: ("sealed", [n, h, n, n, n, m, h, h, Fields.by, t]),
    9: ("blind", [t, maybe(p), m, maybe(m)]),
    10: ("config", [h, maybe(h)]),
    11: ("alert", [n, t, bit, n, n, t]),
    12: ("heartbeat", [n, n, t]),
    13: ("touched", [p, maybe(Fields.who), h]),
    14: ("clock", []),
    15: ("pruned", [t, n, rows]),
    16: ("scan", [bit, m, m, t, n, n, n]),
    17: ("kept", [bit, n, n, h]),
    18: ("dropped", [t, contents]),
}


def parse(data):
    """Kind, time and fields of a leaf."""
    fields = Fields(data)
    version, kind, time = fields.byte(), fields.number(), fields.micros()
    check(version > 0 and kind > 0, "a leaf is of no version or kind")
    if version > 1 or kind not in KINDS:
        return "unknown", time, []
    name, reads = KINDS[kind]
    values = [read(fields) for read in reads]
    check(fields.at == len(data), "a leaf has more than its fields")
    return name, time, values


def tile_name(start, index, count):
    groups = [f"{index % 1000:03}"]
    while index >= 1000:
        index //= 1000
        groups.insert(0, f"x{index % 1000:03}")
    return "/".join([start, *groups]) + (f".p/{count}" if count < 256 else "")


def read(export, name):
    try:
        with open(os.path.join(export, name), "rb") as file:
            return file.read()
    except FileNotFoundError:
        check(False, f"{name} is missing")


def leaves(export, size):
    """The leaves in order, each with its hash; each bundle is compared with its tile. Without bytes where they were deleted."""
    for start in range(0, size, 256):
        count = min(256, size - start)
        name = tile_name("tile/entries", start // 256, count)
        is_whole = os.path.exists(os.path.join(export, name))
        if not is_whole:
            name = tile_name("waxseal/entries", start // 256, count)
        data, at, found = read(export, name), 0, {}
        while at < len(data):
            number = len(found)
            if not is_whole:
                check(not found or data[at] > max(found), f"{name} is not in order")
                number, at = data[at], at + 1
            end = at + 2 + int.from_bytes(data[at : at + 2], "big")
            check(at + 2 <= len(data) and end <= len(data), f"{name} is cut short")
            found[number] = data[at + 2 : end]
            at = end
        check(len(found) == count if is_whole else all(number < count for number in found), f"{name} does not have {count} leaves")
        tile = read(export, tile_name("tile/0", start // 256, count))
        check(len(tile) == 32 * count, f"the tile beside {name} does not have {count} hashes")
        for number in range(count):
            own = tile[32 * number : 32 * number + 32]
            leaf = found.get(number)
            check(leaf is None or sha256(b"\0" + leaf) == own, f"{name} and its tile differ")
            yield leaf, own


def check_tiles(export, hashes):
    """Each level above the leaves follows from the one below."""
    level = 0
    while len(hashes) >= 256:
        above = []
        for start in range(0, len(hashes) - 255, 256):
            tree = Tree()
            for node in hashes[start : start + 256]:
                tree.push(node)
            above.append(tree.root())
        level, hashes = level + 1, above
        for start in range(0, len(hashes), 256):
            row = hashes[start : start + 256]
            name = tile_name(f"tile/{level}", start // 256, len(row))
            check(read(export, name) == b"".join(row), f"{name} does not follow from the level below")


def announced(origin, host, key, number, index, root, time, values):
    """The key of the next epoch, by a leaf that the key before has signed over the leaves before."""
    epoch, new, announcer, claimed, signature = values
    check(epoch == number and claimed == root, f"leaf {index} does not announce epoch {number} over the leaves before it")
    check((announcer == 1) == (key is not None), f"leaf {index} is not signed by whom it should be")
    text = (
        f"{origin}\nwaxseal-epoch-v1\nepoch {epoch}\nkey {new.hex()}\nsize {index}\nroot {root.hex()}\ntime {time}\n"
    )
    check(signed((key or host).bytes, text.encode(), signature), f"the signature in leaf {index} is wrong")
    return key_of(f"{origin}/epoch/{epoch}", new)


def main():
    export, file, *kept = sys.argv[1:]
    head, note = open(file, encoding="utf-8", newline="").read().split("\n\n", 1)
    first, host, epoch, *seals = head.split("\n")
    check(first == "waxseal-verification-v1" and host[:5] == "host " and epoch[:6] == "epoch ", "not a verification file")
    check(all(line[:5] == "seal " for line in seals), "not a verification file")
    host, epoch = Key(host[5:]), Key(epoch[6:])
    anchors = collections.defaultdict(list)
    size, root = checkpoint(note, [host, epoch])
    anchors[size].append(root)
    for name in kept:
        size, root = checkpoint(open(name, encoding="utf-8", newline="").read(), [host])
        anchors[size].append(root)

    own = read(export, "checkpoint").decode()
    size = int(own.split("\n")[1])
    check(size >= max(anchors), "the log is shorter than it was")
    tree, hashes, kinds, key, number, last = Tree(), [], collections.Counter(), None, 0, None
    missing, named = {}, []
    for index, (leaf, own_hash) in enumerate(leaves(export, size)):
        if leaf is None:
            missing[index] = last
            check(index > 0, "the first leaf is missing")
            hashes.append(own_hash)
            tree.push(own_hash)
            check(all(root == tree.root() for root in anchors[tree.size]), f"the first {tree.size} leaves are others")
            kinds["deleted"] += 1
            continue
        kind, time, values = parse(leaf)
        if kind == "pruned":
            named += [(row, time) for row in values[2]]
        check(last is None or time >= last or kind == "clock", f"leaf {index} is older than the one before it")
        if kind == "key":
            key = announced(host.name, host, key, number, index, tree.root(), time, values)
            number += 1
        if index == 0:
            check(kind == "key" and key.bytes == epoch.bytes, "the log does not begin with the key that was kept")
        hashes.append(sha256(b"\0" + leaf))
        tree.push(hashes[-1])
        check(all(root == tree.root() for root in anchors[tree.size]), f"the first {tree.size} leaves are others")
        kinds[kind] += 1
        last = time
    for index, since in missing.items():
        times = [time for row, time in named if index in row]
        check(times, f"leaf {index} is missing")
        check(min(times) - since >= 7 * 24 * 3600 * 10**6, f"leaf {index} was too young to be deleted")
    check(checkpoint(own, [host, key]) == (tree.size, tree.root()), "the checkpoint is over other leaves")
    check_tiles(export, hashes)
    print(f"proven: {tree.size} leaves, {number} epochs, " + ", ".join(f"{n} {kind}" for kind, n in sorted(kinds.items())))


if __name__ == "__main__":
    try:
        main()
    except ValueError as error:  # bytes that are no text, no number or no base64, and lines of other lengths
        check(False, error)
