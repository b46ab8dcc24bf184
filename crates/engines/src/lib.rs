//! Engines: three ways to the same numbers, each checked against the others.
//!
//! | engine | exact for | limits |
//! |---|---|---|
//! | [`closed`] | equal servers, no or parallel repair, one common cause | formulas of a line |
//! | [`chain`] | everything of a [`Service`] that has no memory | [`chain::STATES_MAX`] states |
//! | [`mission`] | all of a [`Service`], fixed schedules included | an interval instead of a number |
//!
//! [`prism`] writes a service as a model for probabilistic model checkers, so that others can check us.
//!
//! Times are hours and rates are per hour, everywhere. Everything counts from servers that are all
//! clean at time 0.
//!
//! Numbers in, numbers out: what a design says, where its numbers come from and how results are told is
//! `ravelin-assess`. Only what is here computes for long, so that builds for tests optimise this crate and
//! not that one.

pub mod chain;
pub mod closed;
mod error;
pub mod mission;
pub mod prism;
mod service;

pub use error::EngineError;
pub use service::{
    Crew, Detection, Hit, Outage, Property, Recovery, Refresh, Rejuvenation, SERVICE_SERVERS_MAX,
    SHOCKS_MAX, Schedule, ServerGroup, Service, Shock,
};
