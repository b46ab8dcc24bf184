//! PRISM language.
use super::{EngineError, Property, Service};

/// A model and what to ask of it, both as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrismModel {
    /// The model (`.sm`).
    pub model: String,
    /// One property a line (`.csl`), each with a comment.
    pub properties: String,
}

/// Writes one module a server.
pub fn service(
    _service: &Service,
    _property: Property,
    _stages: u32,
) -> Result<PrismModel, EngineError> {
    todo!()
}
