"""BLAKE3 in plain Python, for checking what Ravelin signed without Ravelin's code.

Source: J. O'Connor et al., BLAKE3: one function, fast everywhere (2020), section 2.
"""

IV = (0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19)
ORDER = (2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8)
MIXES = ((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15),
         (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14))
CHUNK_START, CHUNK_END, PARENT, ROOT = 1, 2, 4, 8
KEYED, CONTEXT, MATERIAL = 16, 32, 64
MASK = 0xFFFFFFFF


def words(data):
    return [int.from_bytes(data[at:at + 4], "little") for at in range(0, len(data), 4)]


def compress(value, block, counter, flags):
    """The first 8 words of output for one block of at most 64 bytes."""
    m = words(block.ljust(64, b"\0"))
    v = [*value, *IV[:4], counter & MASK, counter >> 32, len(block), flags]
    for _ in range(7):
        for pair, (a, b, c, d) in enumerate(MIXES):
            va, vb, vc, vd = v[a], v[b], v[c], v[d]
            va = (va + vb + m[2 * pair]) & MASK
            vd ^= va
            vd = (vd >> 16 | vd << 16) & MASK
            vc = (vc + vd) & MASK
            vb ^= vc
            vb = (vb >> 12 | vb << 20) & MASK
            va = (va + vb + m[2 * pair + 1]) & MASK
            vd ^= va
            vd = (vd >> 8 | vd << 24) & MASK
            vc = (vc + vd) & MASK
            vb ^= vc
            v[a], v[b], v[c], v[d] = va, (vb >> 7 | vb << 25) & MASK, vc, vd
        m = [m[place] for place in ORDER]
    return [v[place] ^ v[place + 8] for place in range(8)]


def output(value):
    return b"".join(word.to_bytes(4, "little") for word in value)


def chunk(key, data, counter, flags, last):
    """The chaining value of at most 1024 bytes."""
    blocks = [data[at:at + 64] for at in range(0, len(data), 64)] or [b""]
    value = key
    for place, block in enumerate(blocks):
        of_place = CHUNK_START * (place == 0) | (CHUNK_END | last) * (place + 1 == len(blocks))
        value = compress(value, block, counter, flags | of_place)
    return value


def tree(key, data, counter, flags, last):
    """The chaining value of any number of bytes; the left side is a full power of two of chunks."""
    if len(data) <= 1024:
        return chunk(key, data, counter, flags, last)
    left = 1 << ((len(data) - 1) // 1024).bit_length() - 1
    sides = (tree(key, data[:1024 * left], counter, flags, 0)
             + tree(key, data[1024 * left:], counter + left, flags, 0))
    return compress(key, output(sides), 0, flags | PARENT | last)


def plain(data):
    return output(tree(IV, data, 0, 0, ROOT))


def keyed(key, data):
    return output(tree(words(key), data, 0, KEYED, ROOT))


def derived(context, data):
    key = tree(IV, context.encode(), 0, CONTEXT, ROOT)
    return output(tree(key, data, 0, MATERIAL, ROOT))
