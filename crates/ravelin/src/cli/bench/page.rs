//! How every page begins that is written about measurements.

use super::testbed::machine;
use crate::files::date;

/// A title, the command that measures it again, when and by which program it was measured, and where.
pub(super) fn head(title: &str) -> String {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    format!(
        "# {title}\n\n```\nravelin {}\n```\n\n{}; ravelin {}; {}\n\n",
        arguments.join(" "),
        date::now(),
        env!("CARGO_PKG_VERSION"),
        machine(),
    )
}
