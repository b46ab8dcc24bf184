//! The form of a model file: every section and key, once, for the reader and for the JSON schema.

use super::limits::{ENTRIES_MAX, HOSTS_MAX, SERVERS_MAX};

/// A table of the file.
pub(crate) struct Section {
    /// How errors name it.
    pub(crate) name: &'static str,
    /// What it is about.
    pub(crate) doc: &'static str,
    /// Its keys.
    pub(crate) fields: &'static [Field],
}

/// A key of a table.
pub(crate) struct Field {
    /// The key.
    pub(crate) key: &'static str,
    /// What may stand there.
    pub(crate) kind: Kind,
    /// Whether it must be there.
    pub(crate) is_required: bool,
    /// What it means.
    pub(crate) doc: &'static str,
}

/// What may stand behind a key.
pub(crate) enum Kind {
    /// A name: short.
    Name,
    /// A text for people: longer.
    Text,
    /// A whole number that is chosen, not estimated.
    Count { least: i64, most: i64 },
    /// One of a few words.
    Choice(&'static [&'static str]),
    /// A time with unit and origin, such as `{ value = "30d", origin = "assumed" }`.
    Time,
    /// A rate with unit and origin, such as `{ value = "2/y", origin = "expert" }`.
    Rate,
    /// A probability or share with origin.
    Probability,
    /// An amount of money with origin.
    Money,
    /// A list of names.
    Names { least: usize, most: usize },
    /// A table.
    One(&'static Section),
    /// A list of tables.
    Many { section: &'static Section, least: usize, most: usize },
}

const fn must(key: &'static str, kind: Kind, doc: &'static str) -> Field {
    Field { key, kind, is_required: true, doc }
}

const fn may(key: &'static str, kind: Kind, doc: &'static str) -> Field {
    Field { key, kind, is_required: false, doc }
}

const fn many(section: &'static Section) -> Kind {
    Kind::Many { section, least: 0, most: ENTRIES_MAX }
}

/// The whole file.
pub(crate) static MODEL: Section = Section {
    name: "the model file",
    doc: "A design to be assessed by `ravelin assess`.",
    fields: &[
        must("version", Kind::Count { least: 1, most: 1 }, "Version of the form: 1."),
        must("name", Kind::Name, "A name for people."),
        may("description", Kind::Text, "What it is, for people."),
        must("currency", Kind::Name, "The currency of every amount of money, such as EUR."),
        must("mission", Kind::One(&MISSION), "For how long, and how surely, it must hold."),
        must("attacker", Kind::One(&ATTACKER), "Who attacks."),
        must("attacks", many(&ATTACK), "Attacks that are expected."),
        must("vulnerabilities", many(&VULNERABILITY), "Vulnerabilities that they activate."),
        must("hosts", Kind::Many { section: &HOST, least: 1, most: HOSTS_MAX }, "Servers."),
        may("common_mode", Kind::One(&COMMON_MODE), "Beta factors of shared labels."),
        may("wormholes", many(&WORMHOLE), "Kinds of wormhole."),
        must(
            "services",
            Kind::Many { section: &SERVICE, least: 1, most: ENTRIES_MAX },
            "What the hosts do together.",
        ),
        may("components", many(&COMPONENT), "The trust graph."),
        may("attack_trees", many(&ATTACK_TREE), "How promises are broken, step by step."),
        may("costs", Kind::One(&COSTS), "What changes cost over one mission."),
    ],
};

static MISSION: Section = Section {
    name: "[mission]",
    doc: "For how long, and how surely, the services must hold.",
    fields: &[
        must("time", Kind::Time, "Mission time."),
        must(
            "acceptable_risk",
            Kind::Probability,
            "Probability, per service, of breaking a promise within the mission that is accepted.",
        ),
    ],
};

static ATTACKER: Section = Section {
    name: "[attacker]",
    doc: "Who attacks.",
    fields: &[must("budget", Kind::Money, "What the attacker can spend within the mission.")],
};

static ATTACK: Section = Section {
    name: "[[attacks]]",
    doc: "A kind of attack.",
    fields: &[
        must("name", Kind::Name, "A name, unique among the attacks."),
        must("rate", Kind::Rate, "How often it is tried on one host."),
        must("cost", Kind::Money, "What the first host costs the attacker, exploit included."),
        may("cost_again", Kind::Money, "What each further host costs; 0 if absent."),
        may("prevented", Kind::Probability, "Share that never reaches a host; 0 if absent."),
        must(
            "exploits",
            Kind::Many { section: &EXPLOIT, least: 1, most: ENTRIES_MAX },
            "Vulnerabilities that it tries.",
        ),
    ],
};

static EXPLOIT: Section = Section {
    name: "[[attacks.exploits]]",
    doc: "An attack on a vulnerability.",
    fields: &[
        must("vulnerability", Kind::Name, "Name of the vulnerability."),
        must("success", Kind::Probability, "That a host is intruded, if it is open there."),
    ],
};

static VULNERABILITY: Section = Section {
    name: "[[vulnerabilities]]",
    doc: "A kind of vulnerability that appears and is patched again and again.",
    fields: &[
        must("name", Kind::Name, "A name, unique among the vulnerabilities."),
        may(
            "hosts",
            Kind::Names { least: 1, most: HOSTS_MAX },
            "Hosts that have it; all if neither `hosts` nor `where` is there.",
        ),
        may("where", Kind::One(&WHERE), "Labels of the hosts that have it."),
        must("disclosure", Kind::Rate, "How often a new one becomes known to attackers."),
        must("patch", Kind::Rate, "How fast it is removed then: 1 over the mean time."),
        may("prevented", Kind::Probability, "Share kept out from the start; 0 if absent."),
    ],
};

static WHERE: Section = Section {
    name: "[vulnerabilities.where]",
    doc: "Values of labels that a host must have, all of them.",
    fields: &[
        may("site", Kind::Name, "Room, data centre or cloud region."),
        may("administrator", Kind::Name, "Who administers it."),
        may("operating_system", Kind::Name, "Operating system."),
        may("hardware", Kind::Name, "Processor and board."),
        may("build", Kind::Name, "Compiler and source of the server program."),
        may("wormhole", Kind::Name, "Kind of wormhole."),
    ],
};

static HOST: Section = Section {
    name: "[[hosts]]",
    doc: "A server with what it may have in common with others.",
    fields: &[
        must("name", Kind::Name, "A name, unique among the hosts."),
        may("site", Kind::Name, "Room, data centre or cloud region."),
        may("administrator", Kind::Name, "Who administers it."),
        may("operating_system", Kind::Name, "Operating system."),
        may("hardware", Kind::Name, "Processor and board."),
        may("build", Kind::Name, "Compiler and source of the server program."),
        may("wormhole", Kind::Name, "Kind of wormhole, one of [[wormholes]]."),
    ],
};

static COMMON_MODE: Section = Section {
    name: "[common_mode]",
    doc: "For each label, the share of a host's intrusions that reaches all hosts with the same value at once; of hosts attacked unlike, that share of what the least attacked of them meets. Together at most 1.",
    fields: &[
        may("site", Kind::Probability, "Beta factor of a shared site."),
        may("administrator", Kind::Probability, "Beta factor of a shared administrator."),
        may("operating_system", Kind::Probability, "Beta factor of a shared operating system."),
        may("hardware", Kind::Probability, "Beta factor of shared hardware."),
        may("build", Kind::Probability, "Beta factor of a shared build."),
        may("wormhole", Kind::Probability, "Beta factor of a shared kind of wormhole."),
    ],
};

static WORMHOLE: Section = Section {
    name: "[[wormholes]]",
    doc: "A kind of wormhole, and how far it may be trusted.",
    fields: &[
        must("name", Kind::Name, "The name that hosts use."),
        must("coverage", Kind::Probability, "That it is intact once its host is intruded."),
    ],
};

static SERVICE: Section = Section {
    name: "[[services]]",
    doc: "What some hosts do together. n is the number of its hosts.",
    fields: &[
        must("name", Kind::Name, "A name, unique among the services."),
        must("hosts", Kind::Names { least: 1, most: SERVERS_MAX }, "Its servers."),
        must("f", Kind::Count { least: 0, most: SERVERS_MAX as i64 }, "Intrusions tolerated."),
        must(
            "fault_model",
            Kind::Choice(&["arbitrary", "asynchronous", "hybrid", "crash", "single"]),
            "What is assumed of an intruded server.",
        ),
        must(
            "strategy",
            Kind::Choice(&[
                "confidential",
                "non-stop",
                "reconfigurable",
                "recoverable",
                "fail-safe",
            ]),
            "How it goes on under attack.",
        ),
        must(
            "state",
            Kind::Choice(&["sealed", "clear"]),
            "Whether one server can read what is confidential.",
        ),
        may(
            "at_rest",
            Kind::Choice(&["file", "tpm", "unseal"]),
            "What protects shares on a disk; `file` if absent.",
        ),
        must("promises", Kind::One(&PROMISES), "What is promised, with the loss if broken."),
        may(
            "share_epoch",
            Kind::Time,
            "Time between two refreshes of the shares; never if absent.",
        ),
        must("detection", Kind::Probability, "That an intruded server is found out."),
        must("latency", Kind::Time, "Time from an intrusion to its detection."),
        must("recovery", Kind::Time, "Time from detection until the server is clean."),
        may(
            "repairers",
            Kind::Choice(&["parallel", "single"]),
            "Whether servers recover together or one after another; `parallel` if absent.",
        ),
        may("rejuvenation", Kind::One(&REJUVENATION), "Restarts in turn from a clean image."),
        may("outages", Kind::One(&OUTAGES), "Outages that no intruder causes."),
        may("recoverable", Kind::One(&RECOVERABLE), "Times of the recoverable strategy."),
    ],
};

static PROMISES: Section = Section {
    name: "[services.promises]",
    doc: "What is promised, each with the loss when it is broken. At least one.",
    fields: &[
        may("confidentiality", Kind::Money, "Loss when a secret is disclosed."),
        may("integrity", Kind::Money, "Loss when a wrong answer is accepted."),
        may("availability", Kind::Money, "Loss when it stops answering."),
    ],
};

static REJUVENATION: Section = Section {
    name: "[services.rejuvenation]",
    doc: "Restarting servers in turn from a clean image.",
    fields: &[
        must("period", Kind::Time, "Time between two rejuvenations of the same server."),
        must("downtime", Kind::Time, "For how long a server is absent."),
        may(
            "at_once",
            Kind::Count { least: 1, most: SERVERS_MAX as i64 },
            "Servers absent at a time; 1 if absent.",
        ),
        must(
            "root",
            Kind::Choice(&["administrators", "wormhole", "tpm", "none"]),
            "What gives the clean server an identity that the intruder has not; with `none` it is a restart, and counts for nothing.",
        ),
    ],
};

static OUTAGES: Section = Section {
    name: "[services.outages]",
    doc: "Outages that no intruder causes.",
    fields: &[
        must("rate", Kind::Rate, "How often one server has one."),
        must("duration", Kind::Time, "How long it lasts."),
    ],
};

static RECOVERABLE: Section = Section {
    name: "[services.recoverable]",
    doc: "Times of the recoverable strategy.",
    fields: &[
        must("time_to_fall", Kind::Time, "From the beginning of an attack until it falls: Tc."),
        must("time_to_recover", Kind::Time, "From then until it is back: Tr."),
        must("attack", Kind::Time, "How long an attack lasts: Ta."),
    ],
};

static COMPONENT: Section = Section {
    name: "[[components]]",
    doc: "A component of the trust graph.",
    fields: &[
        must("name", Kind::Name, "A name, unique among the components."),
        must(
            "coverage",
            Kind::Probability,
            "That it keeps its properties, given that all it depends on keep theirs.",
        ),
        may("depends", many(&DEPENDENCE), "What it depends on."),
    ],
};

static DEPENDENCE: Section = Section {
    name: "[[components.depends]]",
    doc: "One component trusting another.",
    fields: &[
        must("on", Kind::Name, "Name of the component that is trusted."),
        must("required", Kind::Probability, "How far: the coverage that the design counts on."),
    ],
};

static ATTACK_TREE: Section = Section {
    name: "[[attack_trees]]",
    doc: "One goal of an attacker, and the ways to it.",
    fields: &[
        must("name", Kind::Name, "A name, unique among the trees."),
        must("service", Kind::Name, "The service whose promise the goal breaks."),
        must(
            "property",
            Kind::Choice(&["confidentiality", "integrity", "availability"]),
            "The promise.",
        ),
        must("root", Kind::Name, "The node that is the goal."),
        must(
            "nodes",
            Kind::Many { section: &TREE_NODE, least: 1, most: ENTRIES_MAX },
            "Goals, steps between, and leaves.",
        ),
    ],
};

static TREE_NODE: Section = Section {
    name: "[[attack_trees.nodes]]",
    doc: "A node of an attack tree. Leaves have cost and probability, the others children.",
    fields: &[
        must("name", Kind::Name, "A name, unique in the tree."),
        must(
            "gate",
            Kind::Choice(&["leaf", "all", "any", "at-least"]),
            "How it is reached: by itself, by all, any, or k of its children.",
        ),
        may("k", Kind::Count { least: 1, most: ENTRIES_MAX as i64 }, "For `at-least`."),
        may("children", Kind::Names { least: 1, most: ENTRIES_MAX }, "Names of nodes."),
        may("cost", Kind::Money, "What a leaf costs the attacker."),
        may("probability", Kind::Probability, "That a leaf succeeds, if tried."),
    ],
};

static COSTS: Section = Section {
    name: "[costs]",
    doc: "What changes of the design cost over one mission.",
    fields: &[
        may("server", Kind::Money, "One more server."),
        may("diversity", Kind::Money, "Another value of one label for one server."),
        may("rejuvenation", Kind::Money, "One rejuvenation of one server."),
        may("wormhole", Kind::Money, "A wormhole for one server that had none."),
        may("isolation", Kind::Money, "Stronger isolation of one server's wormhole."),
    ],
};
