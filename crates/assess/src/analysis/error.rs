//! Why a design cannot be assessed.

use crate::calculus::CalculusError;
use crate::design::{Design, Service};
use crate::engines::EngineError;

/// Why an assessment fails although the model file is right. Retrying does not help, unless it was
/// cancelled.
#[derive(Debug, thiserror::Error)]
pub enum AnalysisError {
    /// A service that the engines refuse: too many states, stiff rates.
    #[error("{place}service `{service}` cannot be computed: {source}")]
    Service {
        /// `file:line: `, or nothing for a design that was not read from a file.
        place: String,
        /// The service.
        service: String,
        /// What the engine says, with what to try.
        source: EngineError,
    },
    /// A trust graph, tree or set of labels that the calculus refuses.
    #[error("{place}{what} cannot be computed: {source}")]
    Structure {
        /// `file: `, or nothing.
        place: String,
        /// The structure.
        what: String,
        /// What the calculus says.
        source: CalculusError,
    },
    /// A service of which closed forms say nothing.
    #[error("{place}no closed form holds for service `{service}`: {why}")]
    NoClosedForm {
        /// `file:line: `, or nothing for a design that was not read from a file.
        place: String,
        /// The service.
        service: String,
        /// What the formulas do not have.
        why: String,
    },
    /// A service that was asked for by name.
    #[error("there is no service `{name}`; the design has: {known}")]
    UnknownService {
        /// The name.
        name: String,
        /// Names that there are.
        known: String,
    },
    /// The caller cancelled.
    #[error("cancelled")]
    Cancelled,
}

impl AnalysisError {
    /// An engine's refusal of a service, with its place in the file.
    pub(super) fn of(design: &Design, service: &Service, source: EngineError) -> Self {
        if matches!(source, EngineError::Cancelled) {
            return Self::Cancelled;
        }
        let place = place(design, service);
        Self::Service { place, service: service.name.clone(), source }
    }

    /// A service of which closed forms say nothing.
    pub(super) fn no_closed_form(design: &Design, service: &Service, why: &str) -> Self {
        let (place, service) = (place(design, service), service.name.clone());
        Self::NoClosedForm { place, service, why: why.to_owned() }
    }

    /// A refusal of a structure.
    pub(super) fn structure(design: &Design, what: &str, source: CalculusError) -> Self {
        let place =
            if design.file.is_empty() { String::new() } else { format!("{}: ", design.file) };
        Self::Structure { place, what: what.to_owned(), source }
    }
}

/// Where a service is written, with a colon.
fn place(design: &Design, service: &Service) -> String {
    match (design.file.is_empty(), service.line) {
        (true, _) => String::new(),
        (false, 0) => format!("{}: ", design.file),
        (false, line) => format!("{}:{line}: ", design.file),
    }
}
