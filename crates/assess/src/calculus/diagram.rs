//! Decision diagrams: exact probabilities of boolean functions whose parts are shared.
//!
//! A reduced ordered binary decision diagram keeps each function of some variables once, as a choice on its first
//! variable between two other functions. The probability of a function is then one addition a node, however
//! often a variable occurs in the formula. Size depends on the order of the variables: what belongs
//! together should stand together. Growth beyond [`NODES_MAX`] or [`STEPS_MAX`] is refused.
//!
//! # Source
//! R. Bryant, *Graph-based algorithms for Boolean function manipulation*, IEEE Trans. Comp. 35(8) 1986; A.
//! Rauzy, *New algorithms for fault trees analysis*, Rel. Eng. Syst. Safety 40 (1993); Z. Birnbaum, *On the
//! importance of different components in a multicomponent system*, 1969.

use std::collections::HashMap;

use super::CalculusError;

/// The most variables of a diagram: also the deepest recursion.
pub const VARIABLES_MAX: usize = 1_000;
/// The most nodes of all functions of one diagram.
pub const NODES_MAX: usize = 1_000_000;
/// The most steps of all operations of one diagram: about a second.
pub const STEPS_MAX: usize = 5_000_000;

/// A boolean function of the [`Diagram`] that made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Function(u32);

const FALSE: Function = Function(0);
const TRUE: Function = Function(1);
/// The variable of constants: after all others.
const LAST: u32 = u32::MAX;

/// If `variable` then `high` else `low`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Node {
    variable: u32,
    low: Function,
    high: Function,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Operation {
    And,
    Or,
    Xor,
}

/// Functions over one order of variables. Equal functions are the same [`Function`].
#[derive(Clone, Debug)]
pub struct Diagram {
    variables: u32,
    nodes: Vec<Node>,
    known: HashMap<Node, Function>,
    results: HashMap<(Operation, Function, Function), Function>,
    steps: usize,
}

impl Diagram {
    /// Without functions yet, over the variables `0..variables` in that order.
    ///
    /// # Errors
    /// [`CalculusError::Count`] beyond [`VARIABLES_MAX`].
    pub fn new(variables: usize) -> Result<Self, CalculusError> {
        if variables > VARIABLES_MAX {
            let (what, least, most) = ("variables", 0, VARIABLES_MAX);
            return Err(CalculusError::Count { what, count: variables, least, most });
        }
        let constant = |function| Node { variable: LAST, low: function, high: function };
        Ok(Self {
            variables: u32::try_from(variables).unwrap_or(LAST),
            nodes: vec![constant(FALSE), constant(TRUE)],
            known: HashMap::new(),
            results: HashMap::new(),
            steps: 0,
        })
    }

    /// Always the same.
    #[must_use]
    pub fn constant(&self, value: bool) -> Function {
        if value { TRUE } else { FALSE }
    }

    /// One variable.
    ///
    /// # Errors
    /// [`CalculusError::Unknown`].
    pub fn variable(&mut self, index: usize) -> Result<Function, CalculusError> {
        match u32::try_from(index) {
            Ok(variable) if variable < self.variables => {
                self.node(Node { variable, low: FALSE, high: TRUE })
            }
            _ => {
                let count = usize::try_from(self.variables).unwrap_or(usize::MAX);
                Err(CalculusError::Unknown { what: "variable", index, count })
            }
        }
    }

    /// True where `function` is not.
    ///
    /// # Errors
    /// [`CalculusError::TooLarge`].
    pub fn not(&mut self, function: Function) -> Result<Function, CalculusError> {
        self.apply(Operation::Xor, function, TRUE)
    }

    /// All of the parts; true for none.
    ///
    /// # Errors
    /// [`CalculusError::TooLarge`].
    pub fn all(&mut self, parts: &[Function]) -> Result<Function, CalculusError> {
        // From the last variables to the first, which keeps what is built so far below what is added.
        let parts = self.deepest_first(parts);
        parts.into_iter().try_fold(TRUE, |sum, part| self.apply(Operation::And, sum, part))
    }

    /// Any of the parts; false for none.
    ///
    /// # Errors
    /// [`CalculusError::TooLarge`].
    pub fn any(&mut self, parts: &[Function]) -> Result<Function, CalculusError> {
        let parts = self.deepest_first(parts);
        parts.into_iter().try_fold(FALSE, |sum, part| self.apply(Operation::Or, sum, part))
    }

    /// At least `k` of the parts; true for `k` 0, false for more than there are.
    ///
    /// Cost: `k` x parts operations.
    ///
    /// # Errors
    /// [`CalculusError::TooLarge`].
    pub fn at_least(&mut self, k: usize, parts: &[Function]) -> Result<Function, CalculusError> {
        if k > parts.len() {
            return Ok(FALSE);
        }
        // Entry j: at least j of the parts seen so far.
        let mut counts = vec![FALSE; k + 1];
        if let Some(none) = counts.first_mut() {
            *none = TRUE;
        }
        for part in self.deepest_first(parts) {
            for j in (1..=k).rev() {
                let (Some(&fewer), Some(&already)) = (counts.get(j - 1), counts.get(j)) else {
                    continue;
                };
                let with = self.apply(Operation::And, part, fewer)?;
                let either = self.apply(Operation::Or, already, with)?;
                if let Some(count) = counts.get_mut(j) {
                    *count = either;
                }
            }
        }
        Ok(counts.last().copied().unwrap_or(TRUE))
    }

    /// The probability that `function` is true, when variable `i` is true with probability
    /// `variables[i]`, independently of the others. Cost: one multiplication a node.
    ///
    /// # Errors
    /// [`CalculusError::NotAProbability`], [`CalculusError::Count`] unless there is one for each variable.
    pub fn probability(&self, function: Function, variables: &[f64]) -> Result<f64, CalculusError> {
        let up = self.upward(variables)?;
        Ok(at(&up, function))
    }

    /// The probability of each of several functions. Cost: as of one.
    ///
    /// # Errors
    /// As [`Diagram::probability`].
    pub fn probabilities(
        &self,
        functions: &[Function],
        variables: &[f64],
    ) -> Result<Vec<f64>, CalculusError> {
        let up = self.upward(variables)?;
        Ok(functions.iter().map(|function| at(&up, *function)).collect())
    }

    /// Birnbaum's importance of every variable: how much likelier `function` is when the variable is true
    /// than when it is false. It is also the derivative of the probability.
    ///
    /// # Errors
    /// As [`Diagram::probability`].
    pub fn importance(
        &self,
        function: Function,
        variables: &[f64],
    ) -> Result<Vec<f64>, CalculusError> {
        let up = self.upward(variables)?;
        let mut reach = vec![0.0; self.nodes.len()];
        if let Some(root) = reach.get_mut(index(function)) {
            *root = 1.0;
        }
        let mut importance = vec![0.0; variables.len()];
        // Parents have larger numbers than what they lead to.
        for (number, node) in self.nodes.iter().enumerate().rev() {
            let here = reach.get(number).copied().unwrap_or_default();
            let variable = usize::try_from(node.variable).unwrap_or(usize::MAX);
            let Some(&p) = variables.get(variable).filter(|_| here > 0.0) else { continue };
            if let Some(sum) = importance.get_mut(variable) {
                *sum += here * (at(&up, node.high) - at(&up, node.low));
            }
            for (next, share) in [(node.high, p), (node.low, 1.0 - p)] {
                if let Some(reach) = reach.get_mut(index(next)) {
                    *reach += here * share;
                }
            }
        }
        Ok(importance)
    }

    /// Nodes of all functions so far, constants included.
    #[must_use]
    pub fn node_count(&self) -> usize {
        self.nodes.len()
    }

    /// The variables of least total cost that make `function` true when all others are false, and that
    /// cost; `None` if there are none. For functions that stay true when more variables become true.
    ///
    /// `costs`: of each variable, at least 0; one that is infinite is not for sale. Ties go to the set found first, which depends on
    /// nothing but the function.
    pub(crate) fn cheapest(&self, function: Function, costs: &[f64]) -> Option<(Vec<usize>, f64)> {
        let cost_of = |node: &Node| {
            let variable = usize::try_from(node.variable).unwrap_or(usize::MAX);
            costs.get(variable).copied().unwrap_or_default()
        };
        let mut best: Vec<f64> = Vec::with_capacity(self.nodes.len());
        for (number, node) in self.nodes.iter().enumerate() {
            best.push(match number {
                0 => f64::INFINITY,
                1 => 0.0,
                _ => at(&best, node.low).min(cost_of(node) + at(&best, node.high)),
            });
        }
        let total = Some(at(&best, function)).filter(|cost| cost.is_finite())?;
        let mut chosen = Vec::new();
        let mut now = function;
        while let Some(node) = self.nodes.get(index(now)).filter(|_| now != TRUE && now != FALSE) {
            if at(&best, node.low) <= cost_of(node) + at(&best, node.high) {
                now = node.low;
            } else {
                chosen.push(usize::try_from(node.variable).unwrap_or(usize::MAX));
                now = node.high;
            }
        }
        Some((chosen, total))
    }

    /// The probability of every node.
    fn upward(&self, variables: &[f64]) -> Result<Vec<f64>, CalculusError> {
        let wanted = usize::try_from(self.variables).unwrap_or(usize::MAX);
        if variables.len() != wanted {
            let (count, least, most) = (variables.len(), wanted, wanted);
            return Err(CalculusError::Count { what: "probabilities", count, least, most });
        }
        for (number, &value) in variables.iter().enumerate() {
            if !(0.0..=1.0).contains(&value) {
                let name = format!("variable {number}");
                return Err(CalculusError::NotAProbability { name, value });
            }
        }
        let mut up: Vec<f64> = Vec::with_capacity(self.nodes.len());
        for (number, node) in self.nodes.iter().enumerate() {
            let variable = usize::try_from(node.variable).unwrap_or(usize::MAX);
            up.push(match (number, variables.get(variable)) {
                (0, _) => 0.0,
                (_, Some(p)) => p * at(&up, node.high) + (1.0 - p) * at(&up, node.low),
                (_, None) => 1.0,
            });
        }
        Ok(up)
    }

    fn deepest_first(&self, parts: &[Function]) -> Vec<Function> {
        let mut parts = parts.to_vec();
        parts.sort_by_key(|part| std::cmp::Reverse(self.first_variable(*part)));
        parts
    }

    fn first_variable(&self, function: Function) -> u32 {
        self.nodes.get(index(function)).map_or(LAST, |node| node.variable)
    }

    /// The function of a node, a new one only if there is none like it.
    fn node(&mut self, node: Node) -> Result<Function, CalculusError> {
        if node.low == node.high {
            return Ok(node.low);
        }
        if let Some(known) = self.known.get(&node) {
            return Ok(*known);
        }
        if self.nodes.len() >= NODES_MAX {
            return Err(CalculusError::TooLarge { what: "nodes", most: NODES_MAX });
        }
        let function = Function(u32::try_from(self.nodes.len()).unwrap_or(LAST));
        self.nodes.push(node);
        self.known.insert(node, function);
        Ok(function)
    }

    fn apply(
        &mut self,
        operation: Operation,
        a: Function,
        b: Function,
    ) -> Result<Function, CalculusError> {
        // Operations do not mind the order: one entry serves both.
        let (a, b) = if a <= b { (a, b) } else { (b, a) };
        match (operation, a, b) {
            (Operation::And, FALSE, _) => return Ok(FALSE),
            (Operation::And, TRUE, other) | (Operation::Or | Operation::Xor, FALSE, other) => {
                return Ok(other);
            }
            (Operation::Or, TRUE, _) => return Ok(TRUE),
            (Operation::And | Operation::Or, a, b) if a == b => return Ok(a),
            (Operation::Xor, a, b) if a == b => return Ok(FALSE),
            _ => {}
        }
        if let Some(known) = self.results.get(&(operation, a, b)) {
            return Ok(*known);
        }
        self.steps += 1;
        if self.steps > STEPS_MAX {
            return Err(CalculusError::TooLarge { what: "steps", most: STEPS_MAX });
        }
        let variable = self.first_variable(a).min(self.first_variable(b));
        let (a_low, a_high) = self.branches(a, variable);
        let (b_low, b_high) = self.branches(b, variable);
        let low = self.apply(operation, a_low, b_low)?;
        let high = self.apply(operation, a_high, b_high)?;
        let result = self.node(Node { variable, low, high })?;
        self.results.insert((operation, a, b), result);
        Ok(result)
    }

    /// What is left of a function when a variable that does not come after its first is false, and true.
    fn branches(&self, function: Function, variable: u32) -> (Function, Function) {
        match self.nodes.get(index(function)) {
            Some(node) if node.variable == variable => (node.low, node.high),
            _ => (function, function),
        }
    }
}

fn index(function: Function) -> usize {
    usize::try_from(function.0).unwrap_or(usize::MAX)
}

fn at(values: &[f64], function: Function) -> f64 {
    values.get(index(function)).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests;
