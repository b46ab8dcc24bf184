//! Keys and names as text: lower-case hexadecimal digits.

use std::fmt::Write as _;

/// Two digits a byte.
#[must_use]
pub fn encode(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes all that is written to it");
        text
    })
}

/// 32 bytes of exactly 64 digits.
#[must_use]
pub fn decode(text: &str) -> Option<[u8; 32]> {
    let digits: &[u8; 64] = text.as_bytes().try_into().ok()?;
    let mut bytes = [0; 32];
    for (byte, [high, low]) in bytes.iter_mut().zip(digits.as_chunks::<2>().0) {
        let value = |digit: &u8| char::from(*digit).to_digit(16).and_then(|d| u8::try_from(d).ok());
        *byte = value(high)? << 4 | value(low)?;
    }
    Some(bytes)
}
