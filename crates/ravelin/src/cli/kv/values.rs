//! Values given as an argument, in a file or on standard input.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use clap::Args;
use ravelin_model::limits::KV_VALUE_BYTES_MAX;

use super::bounded;
use crate::exit::{Error, Result};

/// Where a value comes from.
#[derive(Args)]
pub(super) struct Value {
    /// The value; after `--` if it begins with a dash
    #[arg(
        required_unless_present = "file",
        conflicts_with = "file",
        allow_negative_numbers = true
    )]
    value: Option<String>,
    /// Take the value from a file as it is; `-` is standard input
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

impl Value {
    /// The value's bytes.
    pub(super) fn bytes(self) -> Result<Vec<u8>> {
        match (self.value, self.file) {
            (Some(value), _) => of(&value),
            (None, Some(file)) => from_file("a value", &file, KV_VALUE_BYTES_MAX),
            (None, None) => Err(Error::usage("there is no value", "give VALUE, or --file FILE")),
        }
    }
}

/// The bytes of a value that is an argument.
pub(super) fn of(text: &str) -> Result<Vec<u8>> {
    bounded("a value", text.as_bytes().to_vec(), KV_VALUE_BYTES_MAX)
}

/// All of a file, or of standard input for `-`.
pub(super) fn from_file(what: &str, path: &Path, bytes_max: usize) -> Result<Vec<u8>> {
    let mut source: Box<dyn Read> = if path == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        Box::new(File::open(path).map_err(|error| Error::system("read", path, &error))?)
    };
    let mut bytes = Vec::new();
    // One byte more than fits tells that there is more.
    let read = source.by_ref().take(bytes_max as u64 + 1).read_to_end(&mut bytes);
    read.map_err(|error| Error::system("read", path, &error))?;
    if bytes.len() > bytes_max {
        let cause = format!("{}: {what} of more than {bytes_max} bytes", path.display());
        return Err(Error::usage(cause, format!("at most {bytes_max} bytes fit: split it")));
    }
    Ok(bytes)
}
