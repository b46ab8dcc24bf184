//! Opening a cluster of the fault model `hybrid` whose wormholes are not those that its plan names: at its
//! very first start, and after more than `n - q` of them began anew at once.
//!
//! **Guarantee:** whose word a plan or an instance is was checked: plans lead from the trusted
//! fingerprint, and instances are certified by the provisioned keys that plans name. What was asked of
//! the servers changes nothing; only an order does that administrators signed.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use ravelin_client::chain::follow;
use ravelin_crypto::{Keyring, sign_reopening};
use ravelin_model::wire::{ClientMessage, ServerMessage};
use ravelin_model::{
    ClusterId, Decode as _, Encode as _, Epoch, FaultModel, Group, InstanceCertificate, Member,
    PublicKey, Reopening, ReopeningVerdict, ReplicaId, SignedPlan, SignedReopening, Time,
};
use ravelin_runtime::clock::Clock;
use ravelin_runtime::transport::TransportKey;
use ravelin_runtime::transport::ask::ask;
use tokio::task::JoinSet;

use crate::cluster_dir::LocalCluster;
use crate::exit::{Error, Exit, Result};
use crate::files::date;
use crate::files::key::KeyFile;
use crate::files::plan;
use crate::processes::Processes;

/// How long a server may take to answer one question.
const ANSWER_MAX: Duration = Duration::from_secs(3);
/// Pause between two rounds of questions.
const ASK_EVERY: Duration = Duration::from_millis(100);
/// Rounds of questions after which an order is brought again to those who did not take it.
const BRING_EVERY: u32 = 10;

/// Whom to ask, and as whom.
pub(crate) struct Servers {
    pub(crate) cluster: ClusterId,
    /// Any plan of the cluster: addresses, provisioned keys and administrators are the same in all.
    pub(crate) plan: SignedPlan,
    /// A client's, who is enrolled: others may ask, and give no orders.
    pub(crate) key: TransportKey,
}

/// What the servers showed.
pub(crate) struct Picture {
    /// The newest plan.
    pub(crate) plan: SignedPlan,
    pub(crate) group: Group,
    /// The servers that answered, each with the instance of its wormhole.
    pub(crate) present: BTreeMap<ReplicaId, Option<InstanceCertificate>>,
}

impl Picture {
    /// Whether the instance that this server has now counts in the present epoch.
    pub(crate) fn is_open(&self, id: ReplicaId) -> bool {
        let named = self.plan.plan.members.get(id.index()).and_then(|member| member.wormhole);
        let has = self.present.get(&id).copied().flatten().map(|certificate| certificate.instance);
        has.is_some() && named.and_then(|keys| keys.instance) == has
    }

    /// How many have such an instance.
    pub(crate) fn open_count(&self) -> usize {
        self.present.keys().filter(|id| self.is_open(**id)).count()
    }

    /// The servers whose wormhole counts for nothing in the present epoch, ascending, each with the reason.
    pub(crate) fn left_out(&self) -> Vec<(ReplicaId, &'static str)> {
        let why = |id: &ReplicaId| match self.present.get(id) {
            Some(Some(_)) => {
                "its wormhole began anew, and the epoch in force names another instance"
            }
            Some(None) => "it shows no wormhole",
            None => "no answer",
        };
        let others = self.group.members().filter(|id| !self.is_open(*id));
        others.map(|id| (id, why(&id))).collect()
    }

    /// The servers that have none to name, and must be started or declared lost.
    pub(crate) fn absent(&self) -> Vec<ReplicaId> {
        let has = |id: &ReplicaId| self.present.get(id).is_some_and(Option::is_some);
        self.group.members().filter(|id| !has(id)).collect()
    }

    /// The servers declared lost, ascending.
    ///
    /// # Errors
    /// When one of them is none, or they are more than the cluster tolerates.
    pub(crate) fn lost(&self, declared: &[u16]) -> Result<Vec<ReplicaId>> {
        let mut lost: Vec<ReplicaId> = declared.iter().copied().map(ReplicaId).collect();
        lost.sort_unstable();
        lost.dedup();
        if let Some(stranger) = lost.iter().find(|id| !self.group.has(**id)) {
            let hint = format!("the cluster has servers 0 to {}", self.group.size() - 1);
            return Err(Error::usage(format!("there is no server {stranger}"), hint));
        }
        if lost.len() > self.group.faults() {
            let (count, most) = (lost.len(), self.group.faults());
            let cause =
                format!("{count} servers cannot be declared lost: the cluster tolerates {most}");
            let hint = "start more of them: what only lost servers held would be forgotten";
            return Err(Error::usage(cause, hint));
        }
        Ok(lost)
    }

    /// The order that lets in every instance that was seen, but those of servers declared `lost`.
    ///
    /// # Errors
    /// When a server is neither there nor declared lost.
    pub(crate) fn order(&self, cluster: ClusterId, lost: Vec<ReplicaId>) -> Result<Reopening> {
        let absent: Vec<String> =
            self.absent().iter().filter(|id| !lost.contains(id)).map(named).collect();
        if !absent.is_empty() {
            let cause = format!("without an answer, or without a wormhole: {}", absent.join(", "));
            let hint = "start them: what they hold may be what only they hold. One whose disk is gone \
                        for good is declared lost, by --lost N, and takes one of the f faults";
            return Err(Error::new(Exit::NoQuorum, cause, hint));
        }
        let instances = self.present.iter().filter(|(id, _)| !lost.contains(id));
        let plan = &self.plan.plan;
        Ok(Reopening {
            cluster,
            incarnation: plan.incarnation,
            epoch: plan.epoch,
            number: Clock::start().now().0,
            instances: instances.filter_map(|(id, one)| Some((*id, (*one)?))).collect(),
            lost,
        })
    }
}

fn named(id: &ReplicaId) -> String {
    format!("server {id}")
}

/// What to do when most servers of a cluster have other wormholes than its plan names.
pub(crate) const ADVICE: &str = "their wormholes began anew, and only administrators let in so many: start all \
    servers, then `ravelin node reopen --key FILE`; with the disks in place nothing acknowledged is lost";

/// Whether nobody but administrators can let in that many learners.
pub(crate) fn is_needed(model: &str, learner_count: usize, tolerated: usize) -> bool {
    model == FaultModel::Hybrid.name() && learner_count > tolerated
}

/// What became of an order.
pub(crate) struct Reopened {
    /// The plan of the epoch that it began, or another order did.
    pub(crate) plan: SignedPlan,
    /// What each server said of it.
    pub(crate) verdicts: BTreeMap<ReplicaId, ReopeningVerdict>,
}

impl Reopened {
    /// The instances that the new plan names, ascending by server.
    pub(crate) fn instances(&self) -> Vec<(ReplicaId, PublicKey)> {
        let members = (0..).map(ReplicaId).zip(&self.plan.plan.members);
        members.filter_map(|(id, it)| Some((id, it.wormhole?.instance?))).collect()
    }

    /// Whether they are those of `order`; else another order was carried out, or the epoch ended by itself.
    pub(crate) fn is_by(&self, order: &Reopening) -> bool {
        let named = order.instances.iter().map(|(id, certificate)| (*id, certificate.instance));
        named.eq(self.instances())
    }
}

impl Servers {
    /// Refuses a cluster that has no wormholes.
    pub(crate) fn check_model(&self) -> Result<()> {
        let model = self.plan.plan.fault_model;
        if model == FaultModel::Hybrid {
            return Ok(());
        }
        let cause = format!("the cluster is `{}`: it has no wormholes", model.name());
        let hint = "its servers come back by themselves; `ravelin status` says how they fare";
        Err(Error::usage(cause, hint))
    }

    /// Asks all servers at once for the plans and for their wormholes' instances.
    pub(crate) async fn look(&self) -> Result<Picture> {
        let keyring = Keyring::new(self.cluster, &self.plan, plan::scheme()?).map_err(|error| {
            Error::caused(Exit::Usage, error, "`ravelin cluster show` judges it")
        })?;
        let mut picture =
            Picture { plan: self.plan.clone(), group: keyring.group(), present: BTreeMap::new() };
        let answers =
            self.ask_all(|_| vec![ClientMessage::Plans, ClientMessage::Wormhole { id: 0 }]);
        for (id, answers) in answers.await {
            for answer in answers {
                match answer {
                    ServerMessage::Plans(chain) => {
                        let followed = follow(self.cluster.0, &chain, keyring.scheme());
                        let newer = followed.ok().map(|(_, signed)| signed);
                        let newer = newer.filter(|it| it.plan.epoch > picture.plan.plan.epoch);
                        picture.plan = newer.cloned().unwrap_or(picture.plan);
                    }
                    ServerMessage::Wormhole { certificate, .. } => {
                        let fits = |one: &InstanceCertificate| keyring.certifies(id, one);
                        picture.present.insert(id, certificate.filter(fits));
                    }
                    _ => {}
                }
            }
        }
        Ok(picture)
    }

    /// Brings an order to all servers, and waits for the epoch that it begins.
    ///
    /// # Errors
    /// When no server takes it, in the words of more servers than may lie, or the epoch does not begin within `patience`.
    pub(crate) async fn bring(
        &self,
        signed: &SignedReopening,
        patience: Duration,
    ) -> Result<Reopened> {
        let until = Instant::now() + patience;
        let mut verdicts = BTreeMap::new();
        for round in 0.. {
            if round % BRING_EVERY == 0 {
                self.bring_once(signed, &mut verdicts).await;
                if round == 0 && is_refused(&verdicts, self.plan.plan.f) {
                    return Err(refused(&verdicts)); // also if its epoch has ended since long
                }
            }
            let picture = self.look().await?;
            if picture.plan.plan.epoch > signed.order.epoch {
                return Ok(Reopened { plan: picture.plan, verdicts });
            }
            // After the look: who has carried it out refuses it from then on.
            if is_refused(&verdicts, self.plan.plan.f) {
                return Err(refused(&verdicts));
            }
            if Instant::now() > until {
                break;
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
        let cause = format!("the epoch did not begin within {patience:?}; {}", told(&verdicts));
        let hint = why_late(&verdicts, signed.order.epoch);
        Err(Error::new(Exit::NoQuorum, cause, hint))
    }

    async fn bring_once(
        &self,
        signed: &SignedReopening,
        verdicts: &mut BTreeMap<ReplicaId, ReopeningVerdict>,
    ) {
        let order = |_| vec![ClientMessage::Reopen { id: 0, order: Box::new(signed.clone()) }];
        for (id, answers) in self.ask_all(order).await {
            for answer in answers {
                match answer {
                    ServerMessage::Reopening { verdict, .. } => verdicts.insert(id, verdict),
                    // It fetches its state, or is halted.
                    _ => verdicts.insert(id, ReopeningVerdict::NotNow),
                };
            }
        }
    }

    /// Puts questions to all servers; answers that are not of the plan's member do not count.
    async fn ask_all(
        &self,
        questions: impl Fn(ReplicaId) -> Vec<ClientMessage>,
    ) -> BTreeMap<ReplicaId, Vec<ServerMessage>> {
        let mut asked = JoinSet::new();
        for (id, member) in (0..).map(ReplicaId).zip(&self.plan.plan.members) {
            let (member, key, questions) = (member.clone(), self.key.clone(), questions(id));
            asked.spawn(async move { (id, ask_one(&member, &key, &questions).await) });
        }
        asked.join_all().await.into_iter().collect()
    }
}

async fn ask_one(
    member: &Member,
    key: &TransportKey,
    questions: &[ClientMessage],
) -> Vec<ServerMessage> {
    let mut answers = Vec::new();
    for question in questions {
        let asked = ask(key, &member.client_address, &question.encode(), ANSWER_MAX).await;
        let Ok(answer) = asked else { break };
        let message = ServerMessage::decode("server message", &answer.bytes);
        if answer.server_key == member.transport {
            answers.extend(message);
        }
    }
    answers
}

/// Whether the order may yet be carried out, as far as this server knows.
fn is_under_way(verdict: &ReopeningVerdict) -> bool {
    matches!(verdict, ReopeningVerdict::Taken | ReopeningVerdict::Ended | ReopeningVerdict::NotNow)
}

/// Whether no server takes the order: those are more that say so than the `faults` which may lie, and
/// nobody says otherwise. Whoever of them lies the other way makes administrators wait, and no more.
fn is_refused(verdicts: &BTreeMap<ReplicaId, ReopeningVerdict>, faults: u16) -> bool {
    verdicts.len() > usize::from(faults) && !verdicts.values().any(is_under_way)
}

/// What to do where the epoch that follows this one does not begin, as far as what servers say tells.
fn why_late(verdicts: &BTreeMap<ReplicaId, ReopeningVerdict>, epoch: Epoch) -> String {
    let is_behind = |verdict: &ReopeningVerdict| matches!(verdict, ReopeningVerdict::OtherEpoch(other) if *other < epoch);
    match verdicts.iter().find(|(_, verdict)| is_behind(verdict)) {
        Some((id, _)) => format!(
            "server {id} does not know of this epoch: if its data are gone, declare it lost, and it comes back \
             afterwards: `ravelin node reopen --lost {id}`"
        ),
        None => "all servers that are not declared lost must run, reach each other and have their data: \
                 `ravelin status` says how they fare; bring the order again once they do. Data are gone where a \
                 log says `log and state are missing`: if more servers than f are so or lost, a new cluster \
                 takes over what a backup has (Restore in docs/guide/operations.md)"
            .to_owned(),
    }
}

/// Why no server takes an order: what most of them say.
fn refused(verdicts: &BTreeMap<ReplicaId, ReopeningVerdict>) -> Error {
    let said = |verdict: &&ReopeningVerdict| verdicts.values().filter(|it| it == verdict).count();
    let (exit, hint) = match verdicts.values().max_by_key(said) {
        Some(ReopeningVerdict::OtherEpoch(_)) => (
            Exit::Conflict,
            "it was written for another epoch, or another cluster: write another order",
        ),
        Some(ReopeningVerdict::NotApproved) => (
            Exit::Denied,
            "`ravelin cluster show` lists the administrators, and how many of them must sign",
        ),
        Some(ReopeningVerdict::Superseded(_)) => (
            Exit::Conflict,
            "of several orders the latest counts, by the clock of whoever wrote it, unless somebody signed by \
             another already: see whether the epoch ends; if not, write one where the clock is past that",
        ),
        Some(ReopeningVerdict::NoQuorum) => (Exit::NoQuorum, "start more servers first"),
        _ => (Exit::Failed, "write another order: wormholes may have begun anew since"),
    };
    Error::new(exit, format!("no server takes the order: {}", told(verdicts)), hint)
}

fn told(verdicts: &BTreeMap<ReplicaId, ReopeningVerdict>) -> String {
    if verdicts.is_empty() {
        return "no server answers".to_owned();
    }
    let told = |(id, verdict): (&ReplicaId, &ReopeningVerdict)| {
        format!("server {id} says: {}", Words(*verdict))
    };
    verdicts.iter().map(told).collect::<Vec<_>>().join("; ")
}

/// A verdict, for people.
pub(crate) struct Words(pub(crate) ReopeningVerdict);

impl fmt::Display for Words {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ReopeningVerdict::Taken => out.write_str("taken"),
            ReopeningVerdict::NotHybrid => out.write_str("not in this fault model"),
            ReopeningVerdict::OtherEpoch(epoch) => {
                write!(out, "for another cluster or epoch than {}", epoch.0)
            }
            ReopeningVerdict::Ended => {
                out.write_str("the epoch has an end of its own there, to which it helps the others")
            }
            ReopeningVerdict::NotApproved => {
                out.write_str("too few administrators signed it, or somebody who is none")
            }
            ReopeningVerdict::NotCertified(member) => {
                write!(out, "the instance named for server {member} is not its wormhole's")
            }
            ReopeningVerdict::NoQuorum => {
                out.write_str("too few instances for a quorum, or too many servers lost")
            }
            ReopeningVerdict::Unfit => {
                out.write_str("the plan that would follow does not hold together")
            }
            ReopeningVerdict::Superseded(number) => {
                write!(out, "an order of {} goes before it", date::of(Time(number)))
            }
            ReopeningVerdict::NotNow => {
                out.write_str("not now: it fetches its state, or is halted")
            }
        }
    }
}

/// Opens a local cluster whose servers were all started, by its administrator's key, if it is not open.
///
/// # Errors
/// When it does not open within `patience`.
pub(crate) async fn open_local(
    cluster: &LocalCluster,
    patience: Duration,
) -> Result<Option<Reopened>> {
    let until = Instant::now() + patience;
    let processes = Processes::of(cluster)?;
    // Nobody waits for a server that ended already.
    let is_down = |id: &ReplicaId| processes.is_down(*id).unwrap_or(false);
    let servers = Servers {
        cluster: cluster.id,
        plan: cluster.plan.clone(),
        key: TransportKey::from_seed(&KeyFile::read(&cluster.client_key())?.seed),
    };
    let picture = loop {
        let picture = servers.look().await?;
        if picture.open_count() >= picture.group.quorum() {
            return Ok(None);
        }
        if picture.absent().iter().all(is_down) || Instant::now() > until {
            break picture;
        }
        tokio::time::sleep(ASK_EVERY).await;
    };
    let order = picture.order(cluster.id, Vec::new())?;
    let mut signed = SignedReopening { order, approvals: Vec::new() };
    let administrator = KeyFile::read(&cluster.administrator_key())?;
    sign_reopening(&mut signed, &administrator.signing_key());
    servers.bring(&signed, until.saturating_duration_since(Instant::now())).await.map(Some)
}

#[cfg(test)]
mod tests {
    use ravelin_model::plan::{Labels, PLAN_VERSION};
    use ravelin_model::{ClusterPlan, Digest, Incarnation, Purpose, Signature, WormholeKeys};

    use super::*;

    const TAKEN: ReopeningVerdict = ReopeningVerdict::Taken;
    const WEAK: ReopeningVerdict = ReopeningVerdict::NotApproved;
    const OTHER: ReopeningVerdict = ReopeningVerdict::OtherEpoch(Epoch(9));

    fn said(verdicts: &[ReopeningVerdict]) -> BTreeMap<ReplicaId, ReopeningVerdict> {
        (0..).map(ReplicaId).zip(verdicts.iter().copied()).collect()
    }

    #[test]
    fn administrators_are_needed_where_more_learners_than_f_have_wormholes() {
        let of_three = |learner_count| is_needed("hybrid", learner_count, 1);
        assert_eq!([0, 1, 2, 3].map(of_three), [false, false, true, true]);
        assert!(
            !is_needed("arbitrary", 4, 1),
            "there data are lost, and no order brings them back"
        );
    }

    #[test]
    fn no_f_servers_make_an_order_refused() {
        for (verdicts, expected) in [
            (vec![], false),
            (vec![WEAK], false),
            (vec![WEAK, OTHER], true),
            (vec![WEAK, OTHER, TAKEN], false),
            (vec![WEAK, OTHER, ReopeningVerdict::NotNow], false),
            (vec![OTHER, WEAK, WEAK], true),
        ] {
            assert_eq!(is_refused(&said(&verdicts), 1), expected, "{verdicts:?}");
        }
        assert!(!is_refused(&said(&[WEAK, OTHER]), 2));
    }

    #[test]
    fn what_most_say_is_why() {
        assert_eq!(refused(&said(&[OTHER, WEAK, WEAK])).exit(), Exit::Denied);
        assert_eq!(refused(&said(&[WEAK, OTHER, OTHER])).exit(), Exit::Conflict);
    }

    #[test]
    fn who_waits_for_an_epoch_learns_what_may_keep_it_from_beginning() {
        let behind = ReopeningVerdict::OtherEpoch(Epoch(3));
        let hint = why_late(&said(&[TAKEN, behind]), Epoch(4));
        assert!(hint.contains("`ravelin node reopen --lost 1`"), "{hint}");
        // Also where all take the order: one whose data are gone cannot say what it signed.
        let hint = why_late(&said(&[TAKEN, TAKEN]), Epoch(4));
        assert!(hint.contains("`log and state are missing`") && hint.contains("Restore"), "{hint}");
    }

    fn reopened(instances: &[Option<u8>]) -> Reopened {
        let member = |instance: &Option<u8>| Member {
            name: "s".into(),
            identity: PublicKey([1; 32]),
            block: PublicKey([2; 32]),
            transport: PublicKey([3; 32]),
            wormhole: Some(WormholeKeys {
                provisioned: PublicKey([4; 32]),
                instance: instance.map(|byte| PublicKey([byte; 32])),
            }),
            peer_address: String::new(),
            client_address: String::new(),
            labels: Labels::default(),
        };
        let plan = ClusterPlan {
            version: PLAN_VERSION,
            name: "test".into(),
            purpose: Purpose::Local,
            incarnation: Incarnation(1),
            epoch: Epoch(2),
            previous: None,
            fault_model: FaultModel::Hybrid,
            f: 1,
            leaders_per_round: 1,
            members: instances.iter().map(member).collect(),
            administrators: Vec::new(),
            administrators_needed: 1,
            clients: Vec::new(),
            rekey_interval_min_s: 1,
            checkpoint_every: 1,
        };
        let plan = SignedPlan { plan, signatures: Vec::new() };
        Reopened { plan, verdicts: BTreeMap::new() }
    }

    fn certificate(byte: u8) -> InstanceCertificate {
        InstanceCertificate {
            instance: PublicKey([byte; 32]),
            is_rollback_proof: false,
            signature: Signature([0; 64]),
        }
    }

    #[test]
    fn whose_wormhole_counts_for_nothing_is_named_with_the_reason() {
        let plan = reopened(&[Some(7), Some(8), Some(9)]).plan;
        let group = Group::new(3, 1, FaultModel::Hybrid).expect("a group");
        let present = [(ReplicaId(0), Some(certificate(7))), (ReplicaId(1), Some(certificate(6)))];
        let picture = Picture { plan, group, present: present.into() };
        let left_out = picture.left_out();
        let [(ReplicaId(1), anew), (ReplicaId(2), "no answer")] = left_out[..] else {
            panic!("{left_out:?}")
        };
        assert!(anew.contains("began anew"), "{anew}");
    }

    #[test]
    fn what_the_plan_names_is_told_and_not_what_the_order_named() {
        let order = Reopening {
            cluster: ClusterId(Digest([0; 32])),
            incarnation: Incarnation(1),
            epoch: Epoch(1),
            number: 1,
            instances: vec![(ReplicaId(0), certificate(7)), (ReplicaId(2), certificate(9))],
            lost: vec![ReplicaId(1)],
        };
        let by_this = reopened(&[Some(7), None, Some(9)]);
        assert!(by_this.is_by(&order));
        for other in [[Some(7), Some(8), Some(9)], [Some(7), None, Some(8)], [Some(7), None, None]]
        {
            assert!(!reopened(&other).is_by(&order), "{other:?}");
        }
        let all = reopened(&[Some(7), Some(8), Some(9)]).instances();
        assert_eq!(all.iter().map(|(id, _)| id.0).collect::<Vec<_>>(), [0, 1, 2]);
    }
}
