//! Inputs from inputs: changes that know how the formats are built.

/// A generator of numbers from a seed (SplitMix64).
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`; 0 if that is 0.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % (end.max(1) as u64)) as usize
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }
}

/// Longest input that is made.
const LENGTH_MAX: usize = 16 << 10;

/// Bytes that mean something in one format or another.
const WORDS: &[&[u8]] = &[
    &[0, 0, 0, 0],
    &[1, 0, 0, 0],
    &[0xff, 0xff, 0xff, 0xff],
    &[0xff, 0xff, 0xff, 0x7f],
    &[0, 0, 0, 0x40],
    &[0xff; 8],
    &[0, 0, 0, 0, 0, 0, 0, 0x80],
    b" = ",
    b"\n[",
    b"]]\n[[",
    b"\"\"\"",
    b"'''",
    b"{a = [",
    b"18446744073709551616",
    b"-1",
    b"nan",
    b"1979-05-27T07:32:00Z",
    b"\xc3\x28",
    b"\\u0000",
    b"base64:",
    b"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
];

/// `input`, changed in one to a few places; now and then with a part of `other`.
pub(crate) fn mutate(dice: &mut Dice, input: &[u8], other: &[u8]) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..1 + dice.below(4) * dice.below(2) {
        change(dice, &mut bytes, other);
    }
    bytes.truncate(LENGTH_MAX);
    bytes
}

fn change(dice: &mut Dice, bytes: &mut Vec<u8>, other: &[u8]) {
    let at = dice.below(bytes.len());
    match dice.below(12) {
        0 => flip(dice, bytes, at),
        1 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = [0, 1, 2, 0x7f, 0x80, 0xfe, 0xff, dice.next() as u8][dice.below(8)];
            }
        }
        2 => bytes.truncate(at),
        3 => {
            let end = (at + 1 + dice.below(16)).min(bytes.len());
            bytes.drain(at.min(end)..end);
        }
        4 => {
            let word = WORDS[dice.below(WORDS.len())];
            insert(bytes, at, word);
        }
        5 => {
            let word = WORDS[dice.below(WORDS.len())];
            for (byte, new) in bytes.iter_mut().skip(at).zip(word) {
                *byte = *new;
            }
        }
        6 => {
            let end = (at + 1 + dice.below(64)).min(bytes.len());
            let part = bytes.get(at..end).unwrap_or_default().to_vec();
            let to = dice.below(bytes.len() + 1);
            insert(bytes, to, &part);
        }
        7 => {
            let from = dice.below(other.len());
            let end = (from + 1 + dice.below(128)).min(other.len());
            insert(bytes, at, other.get(from..end).unwrap_or_default());
        }
        8 | 9 => resize_list(dice, bytes),
        10 => add_to_number(dice, bytes, at),
        _ => lines(dice, bytes),
    }
}

fn flip(dice: &mut Dice, bytes: &mut [u8], at: usize) {
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 1 << dice.below(8);
    }
}

fn insert(bytes: &mut Vec<u8>, at: usize, part: &[u8]) {
    let at = at.min(bytes.len());
    bytes.splice(at..at, part.iter().copied());
}

/// Bytes of the elements that lists have: of bytes, ids, numbers, digests, signatures, nodes.
const ELEMENT_BYTES: [usize; 8] = [1, 1, 2, 4, 8, 32, 64, 128];

/// Finds what looks like the length of a list or text (`u32`, little endian, no longer than what
/// follows), and changes it: alone, or with as many elements as it says.
fn resize_list(dice: &mut Dice, bytes: &mut Vec<u8>) {
    let size = ELEMENT_BYTES[dice.below(ELEMENT_BYTES.len())];
    let lengths: Vec<(usize, usize)> = bytes
        .windows(4)
        .enumerate()
        .filter_map(|(at, window)| {
            let length = u32::from_le_bytes(window.try_into().ok()?) as usize;
            (length.checked_mul(size)? <= bytes.len() - at - 4).then_some((at, length))
        })
        .collect();
    if lengths.is_empty() {
        return;
    }
    let (at, length) = lengths[dice.below(lengths.len())];
    let rest = bytes.len() - at - 4;
    let new = match dice.below(8) {
        0 => 0,
        1 | 2 => length + 1,
        3 => length.saturating_sub(1),
        4 => rest / size,
        5 => u32::MAX as usize,
        6 => length * 2,
        _ => 1 << dice.below(31),
    };
    bytes[at..at + 4].copy_from_slice(&(new as u32).to_le_bytes());
    if !dice.one_in(3) && new * size <= LENGTH_MAX {
        // The elements follow the length, so that what comes after stays where it is read.
        let body = at + 4..at + 4 + length * size;
        let mut changed: Vec<u8> =
            bytes[body.clone()].iter().copied().cycle().take(new * size).collect();
        changed.resize(new * size, 0);
        bytes.splice(body, changed);
    }
}

fn add_to_number(dice: &mut Dice, bytes: &mut [u8], at: usize) {
    let width = [1, 2, 4, 8][dice.below(4)];
    let Some(window) = bytes.get_mut(at..at + width) else { return };
    let mut number = [0; 8];
    number[..width].copy_from_slice(window);
    let step = 1 + dice.below(4) as u64;
    let sum = u64::from_le_bytes(number);
    let sum = if dice.one_in(2) { sum.wrapping_add(step) } else { sum.wrapping_sub(step) };
    window.copy_from_slice(&sum.to_le_bytes()[..width]);
}

/// Doubles, drops or swaps lines, or changes what stands behind an equals sign.
fn lines(dice: &mut Dice, bytes: &mut Vec<u8>) {
    let mut lines: Vec<Vec<u8>> = bytes.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    let (one, two) = (dice.below(lines.len()), dice.below(lines.len()));
    match dice.below(5) {
        0 => lines.insert(two, lines[one].clone()),
        1 => drop(lines.remove(one)),
        2 => lines.swap(one, two),
        3 => {
            // A value of another line, of another type perhaps.
            let value = |line: &[u8]| line.iter().position(|byte| *byte == b'=');
            if let (Some(here), Some(there)) = (value(&lines[one]), value(&lines[two])) {
                let tail = lines[two][there..].to_vec();
                lines[one].truncate(here);
                lines[one].extend(tail);
            }
        }
        _ => {
            if lines[one].first() == Some(&b'#') {
                lines[one].remove(0); // what is commented out comes in
            }
        }
    }
    *bytes = lines.join(&b'\n');
}
