//! Exhaustive models of rules, over the product's own code.
//!
//! [`decisions`]: whatever parents four servers choose over four rounds, and whatever a forking one
//! adds, no two views decide a slot differently. [`hybrid`]: the same of three servers with wormholes,
//! and what one that is broken does. [`waves`]: the same for votes that are walks through several rounds.
//! [`bombs`]: what colluders can hang behind one block is bounded. [`epochs`]: whoever crashes, lies or
//! is late while epochs change, one plan follows each, and all correct servers reach it. [`brm`]: whoever
//! of three processes is intruded, a multicast is delivered by all correct ones or by none.
//!
//! Of wormholes: [`agreement`], by a majority, and [`rounds`], by the common clock: whatever is late or
//! lost, and whoever stops, no two tell different decisions. [`counters`]: whatever files are copied and
//! put back, no instance binds a position twice. [`instances`]: whoever comes back as another instance,
//! one block of it counts for a round of an epoch.
//!
//! Run with `cargo test --release --manifest-path models/Cargo.toml`; larger configurations with
//! `-- --ignored`. Planted faults: `RUSTFLAGS="--cfg ravelin_mutants" RAVELIN_MUTANT=name`.

#[path = "../../crates/sim/src/brm/ideal.rs"]
#[allow(dead_code, reason = "shared with the simulator")]
mod ideal;
#[path = "../../crates/multicast/tests/common/keys.rs"]
#[allow(dead_code, reason = "shared with the tests of the product")]
mod keys;
#[path = "../../crates/multicast/tests/common/parents.rs"]
mod parents;

pub mod agreement;
pub mod bombs;
pub mod brm;
pub mod counters;
pub mod decisions;
pub mod epochs;
pub mod hybrid;
pub mod instances;
pub mod rounds;
pub mod waves;
mod wormholes;
