//! Fields of fixed size, one after the other.

/// Why bytes have no meaning. (In words: [`client`](crate::client).)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// Fewer bytes than the fields need.
    Short,
    /// Bytes that must be zero are not.
    Padding,
    /// A version that is not ours.
    Version,
    /// No call has this number.
    UnknownKind,
    /// No meaning has this number.
    UnknownCode,
    /// No registered action has this number.
    UnknownAction,
    /// No counter has this number.
    UnknownCounter,
    /// A counter whose value is not above the one before.
    NotRising,
    /// A list of processes that is empty, too long, or names one twice; or a decision that needs more.
    NoAgreement,
}

/// Takes fields from the front.
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn bytes<const N: usize>(&mut self) -> Result<[u8; N], FrameError> {
        let (field, rest) = self.0.split_first_chunk().ok_or(FrameError::Short)?;
        self.0 = rest;
        Ok(*field)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, FrameError> {
        self.bytes().map(u8::from_le_bytes)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, FrameError> {
        self.bytes().map(u16::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, FrameError> {
        self.bytes().map(u64::from_le_bytes)
    }

    pub(crate) fn flag(&mut self) -> Result<bool, FrameError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(FrameError::UnknownCode),
        }
    }

    /// What is left must be zero: a frame has one encoding.
    pub(crate) fn finish(self) -> Result<(), FrameError> {
        if self.0.iter().all(|byte| *byte == 0) { Ok(()) } else { Err(FrameError::Padding) }
    }
}

/// Puts fields at the front.
pub(crate) struct Writer<'a>(&'a mut [u8]);

impl<'a> Writer<'a> {
    pub(crate) fn new(bytes: &'a mut [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn bytes<const N: usize>(&mut self, field: &[u8; N]) {
        let (place, rest) = std::mem::take(&mut self.0)
            .split_first_chunk_mut()
            .expect("the types of the fields sum to at most the size of their place");
        *place = *field;
        self.0 = rest;
    }

    pub(crate) fn u8(&mut self, field: u8) {
        self.bytes(&[field]);
    }

    pub(crate) fn u16(&mut self, field: u16) {
        self.bytes(&field.to_le_bytes());
    }

    pub(crate) fn u64(&mut self, field: u64) {
        self.bytes(&field.to_le_bytes());
    }

    /// What the signed bytes are for, preceded by its length: none is the beginning of another.
    pub(crate) fn domain(&mut self, domain: &[u8]) {
        self.u8(u8::try_from(domain.len()).expect("domains are short constants"));
        for byte in domain {
            self.u8(*byte);
        }
    }
}
