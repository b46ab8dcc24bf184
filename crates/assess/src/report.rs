//! What a person sees of an assessment: tables, pictures, one self-contained page, and words.
//!
//! **Guarantee:** whatever a model file calls its hosts and attacks, the page that shows them stays
//! the page that was meant: all text is escaped, nothing is loaded from elsewhere, no script runs.
//!
//! [`summary`] is for a terminal, [`document`] for a browser. The pictures below them take plain numbers
//! and names and know nothing of designs; [`pictures`] makes them from an assessment.

pub mod chart;
pub mod document;
pub mod explain;
pub mod graph;
pub mod matrix;
pub mod page;
pub mod pictures;
pub mod scale;
pub mod summary;
pub mod svg;
pub mod table;
pub mod tornado;
pub mod words;
