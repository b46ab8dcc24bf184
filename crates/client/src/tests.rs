//! Scenarios: scripted replicas that tell a session what a test wants, and random schedules.

mod audits;
mod epochs;
mod evidence;
mod fixture;
mod flood;
mod random;
mod reads;
mod replicas;
mod sending;
mod trust;
mod votes;
mod watches;
mod world;
