//! What a person sees of an assessment: tables, pictures, one self-contained page, and words.
//!
//! **Guarantee:** whatever a model file calls its hosts and attacks, the page that shows them stays
//! the page that was meant: all text is escaped, nothing is loaded from elsewhere, no script runs.
//!
//! The pictures take plain numbers and names; they know nothing of model files.

pub mod chart;
pub mod explain;
pub mod graph;
pub mod matrix;
pub mod page;
pub mod scale;
pub mod svg;
pub mod table;
pub mod tornado;
