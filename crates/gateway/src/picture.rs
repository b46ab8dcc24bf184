//! One picture out of many words.
//!
//! **Guarantee:** with at most `f` intruded servers among those that answer, no state but those that
//! a server may claim of itself is shown on the word of intruded servers alone, once `f+1` others
//! answer; the picture says how many agree.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;

use ravelin_model::wire::StatusReport;
use ravelin_model::{ClusterId, ClusterPlan, Group, Member, ReplicaId};
use serde::Serialize;

/// What a server calls itself that serves and has no room for new requests.
pub const DISK_FULL: &str = "disk_full";

/// A server's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum View {
    // From good to bad: of two equally frequent words the worse counts.
    /// All is well.
    Correct,
    /// Behind the others.
    CatchingUp,
    /// It serves, and takes no new requests for want of room.
    DiskFull,
    /// It lost what it had promised, and makes no blocks.
    Learner,
    /// Late, or contradicted.
    Suspected,
    /// Of a cluster: not all is well.
    Degraded,
    /// Not heard of.
    Down,
    /// Halted: it saw what cannot happen within `f` intrusions.
    FailSafe,
    /// Proven faulty.
    Faulty,
}

impl View {
    const OF_SERVERS: [Self; 8] = [
        Self::Correct,
        Self::CatchingUp,
        Self::DiskFull,
        Self::Learner,
        Self::Suspected,
        Self::Down,
        Self::FailSafe,
        Self::Faulty,
    ];

    /// The name in outputs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Correct => "correct",
            Self::CatchingUp => "catching_up",
            Self::DiskFull => DISK_FULL,
            Self::Learner => "learner",
            Self::Suspected => "suspected",
            Self::Degraded => "degraded",
            Self::Down => "down",
            Self::FailSafe => "fail_safe",
            Self::Faulty => "faulty",
        }
    }

    /// A server's word; words that are none mean that something is wrong.
    fn of(word: &str) -> Self {
        let mut known = Self::OF_SERVERS.into_iter();
        known.find(|view| view.name() == word).unwrap_or(Self::Suspected)
    }
}

/// How one server fares.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ServerView {
    /// What it seems to be.
    pub state: View,
    /// Whose word the state is.
    pub source: Source,
    /// How many of the others say so, where it is their word.
    pub agreeing: usize,
    /// How many of the others were heard.
    pub heard: usize,
    /// Whether it answers here.
    pub answers: bool,
    /// What it says of itself.
    pub own_word: Option<View>,
    /// Its newest round, by its own word.
    pub round: Option<u64>,
    /// Its last commit, by its own word.
    pub commit: Option<u64>,
    /// Kinds of proof against it, with how many of the others hold one.
    pub evidence: BTreeMap<String, usize>,
    /// Kinds of suspicion against it, with the most that one of the others counted.
    pub suspicions: BTreeMap<String, u32>,
    /// Where others heard processes that hold its key, if there are two: `address:port`.
    pub shared_key_at: BTreeSet<SocketAddr>,
}

/// Whose word a state is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// That of most others.
    Others,
    /// Its own.
    Itself,
    /// Ours: it does not answer.
    Observer,
}

/// How a cluster fares.
#[derive(Debug)]
pub struct Picture {
    /// `Correct`, `Degraded` or `FailSafe`.
    pub state: View,
    /// How many servers answered.
    pub answered: usize,
    /// Below zero: more are in trouble than tolerated.
    pub fault_budget_remaining: i64,
    /// The highest commit of which `f+1` servers tell, so that a correct one does.
    pub commit_index: u64,
    /// How many servers tell of it.
    pub commit_told_by: usize,
    /// One for each server, in order.
    pub servers: Vec<ServerView>,
}

/// A picture of a cluster with its names: what scripts read, on the command line and over HTTP. Its
/// fields are stable.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The fingerprint.
    pub cluster: String,
    /// Its name for people.
    pub name: String,
    /// What is assumed of intruded servers.
    pub fault_model: &'static str,
    /// Intrusions tolerated.
    pub f: usize,
    /// As [`Picture::state`].
    pub state: View,
    /// As [`Picture::answered`].
    pub answered: usize,
    /// As [`Picture::fault_budget_remaining`].
    pub fault_budget_remaining: i64,
    /// As [`Picture::commit_index`].
    pub commit_index: u64,
    /// As [`Picture::commit_told_by`].
    pub commit_told_by: usize,
    /// In the plan's order.
    pub servers: Vec<NamedServer>,
}

/// A server of a [`Report`].
#[derive(Debug, Serialize)]
pub struct NamedServer {
    /// Its place in the plan.
    pub id: usize,
    /// Its name for people.
    pub name: String,
    /// How it fares.
    #[serde(flatten)]
    pub view: ServerView,
}

impl Report {
    /// Puts the names of `plan` to a picture of its servers.
    #[must_use]
    pub fn of(cluster: ClusterId, plan: &ClusterPlan, picture: Picture) -> Self {
        let servers = plan.members.iter().zip(picture.servers).enumerate();
        let named = |(id, (member, view)): (usize, (&Member, ServerView))| NamedServer {
            id,
            name: member.name.clone(),
            view,
        };
        Self {
            cluster: cluster.0.to_string(),
            name: plan.name.clone(),
            fault_model: plan.fault_model.name(),
            f: usize::from(plan.f),
            state: picture.state,
            answered: picture.answered,
            fault_budget_remaining: picture.fault_budget_remaining,
            commit_index: picture.commit_index,
            commit_told_by: picture.commit_told_by,
            servers: servers.map(named).collect(),
        }
    }
}

/// Makes one picture of all reports.
pub fn merge(group: Group, reports: &BTreeMap<ReplicaId, StatusReport>) -> Picture {
    let servers: Vec<_> = group.members().map(|member| view(member, reports)).collect();
    let troubled = servers.iter().filter(|server| server.state != View::Correct).count();
    let halted = |report: &&StatusReport| View::of(&report.state) == View::FailSafe;
    let halted = reports.values().filter(halted).count();
    let mut commits: Vec<u64> = reports.values().map(|report| report.commit.0).collect();
    commits.sort_unstable_by(|a, b| b.cmp(a));
    let commit_index = commits.get(group.one_correct() - 1).copied().unwrap_or_default();
    let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    Picture {
        state: match (halted >= group.one_correct(), troubled) {
            (true, _) => View::FailSafe,
            (false, 0) => View::Correct,
            (false, _) => View::Degraded,
        },
        answered: reports.len(),
        fault_budget_remaining: count(group.faults()) - count(troubled),
        commit_index,
        commit_told_by: commits.iter().filter(|commit| **commit >= commit_index).count(),
        servers,
    }
}

/// How `member` fares by what it says and by what others say.
fn view(member: ReplicaId, reports: &BTreeMap<ReplicaId, StatusReport>) -> ServerView {
    let own = reports.get(&member);
    let own_word = own.map(|report| View::of(&report.state));
    let others = reports.iter().filter(|(who, _)| **who != member);
    let told: Vec<_> = others.filter_map(|(_, them)| them.members.get(member.index())).collect();
    let mut words: BTreeMap<View, usize> = BTreeMap::new();
    for report in &told {
        *words.entry(View::of(&report.state)).or_default() += 1;
    }
    let most = words.iter().map(|(view, count)| (*count, *view)).max();
    let (state, source) = match (most.map(|(_, view)| view), own_word) {
        // It may say of itself what only harms itself.
        (
            None | Some(View::Correct | View::Down),
            Some(own @ (View::CatchingUp | View::DiskFull | View::Learner | View::FailSafe)),
        ) => (own, Source::Itself),
        (Some(View::Correct), None) => (View::Suspected, Source::Observer),
        (Some(view), _) => (view, Source::Others),
        (None, Some(own)) => (own, Source::Itself),
        (None, None) => (View::Down, Source::Observer),
    };
    let mut evidence: BTreeMap<String, usize> = BTreeMap::new();
    let mut suspicions: BTreeMap<String, u32> = BTreeMap::new();
    for report in &told {
        for (kind, _) in &report.evidence {
            *evidence.entry(kind.clone()).or_default() += 1;
        }
        for (kind, count) in &report.suspicions {
            let known = suspicions.entry(kind.clone()).or_default();
            *known = (*known).max(*count);
        }
    }
    let places = told.iter().flat_map(|report| report.shared_key_at.iter().take(2));
    let shared_key_at = places.filter_map(|place| place.parse().ok()).collect();
    ServerView {
        state,
        source,
        agreeing: words.get(&state).copied().unwrap_or_default(),
        heard: told.len(),
        answers: own.is_some(),
        own_word,
        round: own.map(|report| report.round.0),
        commit: own.map(|report| report.commit.0),
        evidence,
        suspicions,
        shared_key_at,
    }
}

impl fmt::Display for ServerView {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.source {
            Source::Others => write!(out, "as told by {} of {} others", self.agreeing, self.heard)?,
            Source::Itself => out.write_str("as it says itself")?,
            Source::Observer => out.write_str("it does not answer here")?,
        }
        if !self.answers && self.source != Source::Observer {
            out.write_str("; it does not answer here")?;
        }
        for (kind, holders) in &self.evidence {
            write!(out, "; {holders} hold proof: {kind}")?;
        }
        for (kind, count) in &self.suspicions {
            write!(out, "; {kind} {count} times")?;
        }
        let places: Vec<String> = self.shared_key_at.iter().map(SocketAddr::to_string).collect();
        if !places.is_empty() {
            write!(out, "; two processes hold its key: heard from {}", places.join(", "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use ravelin_model::wire::MemberReport;
    use ravelin_model::{CommitIndex, Digest, FaultModel, Position, Round, Time};

    use super::*;

    /// What servers say of themselves and of servers 0 to 3.
    fn picture(words: &[(u16, &str, [&str; 4])]) -> Picture {
        let member = |state: &&str| MemberReport {
            state: (*state).to_owned(),
            round: Round(1),
            evidence: if *state == "faulty" { vec![("equivocation".into(), 1)] } else { vec![] },
            suspicions: vec![],
            shared_key_at: vec![],
        };
        let report = |(id, own, others): &(u16, &str, [&str; 4])| {
            let report = StatusReport {
                state: (*own).to_owned(),
                round: Round(1),
                commit: CommitIndex(100 + u64::from(*id)),
                position: Position(1),
                time: Time(1),
                state_root: Digest([0; 32]),
                members: others.iter().map(member).collect(),
            };
            (ReplicaId(*id), report)
        };
        let group = Group::new(4, 1, FaultModel::Arbitrary).unwrap();
        merge(group, &words.iter().map(report).collect())
    }

    const WELL: [&str; 4] = ["correct"; 4];

    #[test]
    fn a_cluster_without_trouble_is_correct() {
        let all: Vec<_> = (0..4).map(|id| (id, "correct", WELL)).collect();
        let picture = picture(&all);
        assert_eq!(picture.state, View::Correct);
        assert_eq!((picture.fault_budget_remaining, picture.answered), (1, 4));
        assert_eq!((picture.commit_index, picture.commit_told_by), (102, 2), "one may lie");
        assert!(picture.servers.iter().all(|server| server.agreeing == 3));
    }

    #[test]
    fn one_server_can_neither_slander_nor_excuse() {
        let lies = ["faulty", "faulty", "correct", "correct"];
        let truth = ["correct", "correct", "correct", "faulty"];
        let three = |words| [(0, "correct", words), (1, "correct", words), (2, "correct", words)];
        let mut all = three(truth).to_vec();
        all.push((3, "correct", lies));
        let picture = picture(&all);
        let states: Vec<_> = picture.servers.iter().map(|server| server.state).collect();
        assert_eq!(states, [View::Correct, View::Correct, View::Correct, View::Faulty]);
        assert_eq!(picture.servers[3].evidence["equivocation"], 3);
        assert_eq!(picture.state, View::Degraded);
        assert_eq!(picture.fault_budget_remaining, 0);
    }

    #[test]
    fn a_silent_server_is_down_by_the_word_of_others_or_suspected_by_ours() {
        let down = ["correct", "correct", "correct", "down"];
        for (words, state, source) in
            [(down, View::Down, Source::Others), (WELL, View::Suspected, Source::Observer)]
        {
            let picture = picture(&[0, 1, 2].map(|id| (id, "correct", words)));
            assert_eq!((picture.servers[3].state, picture.servers[3].source), (state, source));
            assert_eq!(picture.state, View::Degraded);
        }
    }

    #[test]
    fn a_server_may_say_of_itself_that_it_is_behind_but_not_that_it_is_well() {
        let faulty = ["faulty", "correct", "correct", "correct"];
        let all = [
            (0, "correct", WELL),
            (1, "catching_up", faulty),
            (2, "correct", faulty),
            (3, "correct", faulty),
        ];
        let picture = picture(&all);
        assert_eq!(picture.servers[0].state, View::Faulty);
        assert_eq!(picture.servers[1].state, View::CatchingUp);
        assert_eq!(picture.servers[1].source, Source::Itself);
        assert_eq!(picture.fault_budget_remaining, -1);
    }

    #[test]
    fn a_cluster_has_halted_when_a_correct_server_must_be_among_those_that_say_so() {
        let one = picture(&[(0, "fail_safe", WELL), (1, "correct", WELL), (2, "correct", WELL)]);
        assert_eq!(one.state, View::Degraded);
        let two = picture(&[(0, "fail_safe", WELL), (1, "fail_safe", WELL)]);
        assert_eq!(two.state, View::FailSafe);
    }
}
