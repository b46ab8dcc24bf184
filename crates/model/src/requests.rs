//! What clients ask of services and what these reply: plain types that both sides share.

pub mod auth;
pub mod kv;
pub mod session;
