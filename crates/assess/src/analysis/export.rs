//! A service of a design in the language of the PRISM model checker.

use super::error::AnalysisError;
use super::situation::Situation;
use super::solve::{Grade, Question, service};
use crate::design::{Design, Property};
use crate::engines::prism::{self, PrismModel};

/// Writes one promise of a service as a model for PRISM or Storm, with the questions that the assessment
/// answers. `service`: its name, or `None` where the design has only one.
///
/// The model is the chain that the assessment computes: fixed periods are rates in it.
///
/// # Errors
/// [`AnalysisError`]: a service that does not exist, or one that cannot be written.
pub fn to_prism(
    design: &Design,
    name: Option<&str>,
    property: Property,
) -> Result<PrismModel, AnalysisError> {
    let of = super::backtest::chosen(design, name)?;
    let situation = Situation::of(design, of);
    let question = Question::Broken(property);
    let numbers = service(&situation, question, Grade::Result, super::solve::Without::Nothing);
    prism::service(&numbers, question.property(), 1)
        .map_err(|error| AnalysisError::of(design, of, error))
}
