//! Limits of model files: what anybody may hand in must not cost more than it can be worth.

/// Bytes of a model file.
pub const MODEL_BYTES_MAX: usize = 1 << 20;
/// Hosts of a design.
pub const HOSTS_MAX: usize = 256;
/// Servers of one service; as many as a cluster may have.
pub const SERVERS_MAX: usize = ravelin_model::limits::REPLICAS_MAX as usize;
/// Entries of any other list of a model file.
pub const ENTRIES_MAX: usize = 256;
/// Bytes of a name or of a label's value.
pub const NAME_BYTES_MAX: usize = 128;
/// Bytes of a description or of a note.
pub const TEXT_BYTES_MAX: usize = 4096;
/// Faults told of one file: more are seldom read.
pub const FAULTS_TOLD_MAX: usize = 20;
/// The largest amount of money: cents are still told apart, and no sum of a design's amounts is infinite.
pub const MONEY_MAX: f64 = 1e15;
/// The longest time in hours and the highest rate per hour, of which the least are the reciprocals: no sum of a
/// design's rates is infinite, and no mean time is nothing.
pub const SPAN_MAX: f64 = 1e300;
