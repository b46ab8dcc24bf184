//! Reduced ordered binary decision diagrams: exact probabilities of boolean functions.
use super::CalculusError;

/// The most variables.
pub const VARIABLES_MAX: usize = 1_000;
/// The most nodes of all functions of one diagram.
pub const NODES_MAX: usize = 1_000_000;

/// A boolean function of a [`Diagram`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Function(u32);

/// The functions over one order of variables.
#[derive(Clone, Debug)]
pub struct Diagram {}

impl Diagram {
    /// Over variables `0..variables`, in that order.
    pub fn new(_variables: usize) -> Result<Self, CalculusError> {
        todo!()
    }
    /// Always true or false.
    pub fn constant(&self, _value: bool) -> Function {
        todo!()
    }
    /// One variable.
    pub fn variable(&mut self, _index: usize) -> Result<Function, CalculusError> {
        todo!()
    }
    /// Not.
    pub fn not(&mut self, _a: Function) -> Result<Function, CalculusError> {
        todo!()
    }
    /// And of all; true for none.
    pub fn all(&mut self, _parts: &[Function]) -> Result<Function, CalculusError> {
        todo!()
    }
    /// Or of all; false for none.
    pub fn any(&mut self, _parts: &[Function]) -> Result<Function, CalculusError> {
        todo!()
    }
    /// At least `k` of the parts.
    pub fn at_least(&mut self, _k: usize, _parts: &[Function]) -> Result<Function, CalculusError> {
        todo!()
    }
    /// Probability that `function` is true, each variable with its own, all independent.
    pub fn probability(
        &self,
        _function: Function,
        _variables: &[f64],
    ) -> Result<f64, CalculusError> {
        todo!()
    }
    /// Birnbaum importance of each variable: P(f | x true) - P(f | x false).
    pub fn importance(
        &self,
        _function: Function,
        _variables: &[f64],
    ) -> Result<Vec<f64>, CalculusError> {
        todo!()
    }
}
